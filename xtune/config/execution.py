"""A config file that is a Python program, run in a process of its own: what it does there cannot end ours.

Only files that the user trusts, and those of installed plugins, come here.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import FunctionType
from typing import Any

from xtune.config.literals import BASE, COMPARE, Bases, parse
from xtune.config.plain import plain
from xtune.errors import ConfigError
from xtune.foreign import foreign, reason

CHILD = "import sys; sys.path[:] = eval(sys.argv[1]); from xtune.config.execution import main; main()"


def execute(path: Path, where: str, merge_bases: Bases) -> dict[str, Any]:
    """The values that the program leaves. Its output goes to our stderr. Raises ConfigError where it fails or ends."""
    tree = parse(path.read_text(encoding="utf-8-sig"), where)
    bases = [node.value for node in tree.body if isinstance(node, ast.Assign) and _is_base(node)]
    with foreign(f"config {where}, `{BASE}`", ConfigError, COMPARE):
        inherited = merge_bases(ast.literal_eval(bases[0])) if bases else {}
    done = subprocess.run(
        [sys.executable, "-P", "-c", CHILD, repr(sys.path), str(path.absolute())],
        input=repr(inherited),
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    kind, _, text = done.stdout.partition(" ")
    if kind == "values":
        values: dict[str, Any] = ast.literal_eval(text)
        return values
    why = text if kind == "error" else f"it ends the interpreter (exit code {done.returncode})"
    raise ConfigError(f"config {where} cannot be run: {why}", COMPARE)


def main() -> None:
    """In the process of its own: runs the program and prints "values" and their repr, or "error" and one line."""
    import os

    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        found = f"values {plain(run(Path(sys.argv[2]), ast.literal_eval(sys.stdin.read())))!r}"
    except (Exception, SystemExit) as error:
        found = f"error {reason(error)}"
    answer.write(found)
    answer.close()


def run(path: Path, bases: dict[str, Any]) -> dict[str, Any]:
    """The values of a program: by mmengine where it inherits with `read_base`, else by Python itself."""
    tree = ast.parse(path.read_text(encoding="utf-8-sig"))
    names = [alias for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom)) for alias in node.names]
    imported = {name.asname or name.name.partition(".")[0] for name in names}
    if "read_base" in imported:
        from mmengine.config import Config

        values: dict[str, Any] = Config.fromfile(path, import_custom_modules=False).to_dict()
        return values
    tree.body = [node for node in tree.body if not _is_base(node)]
    scope: dict[str, Any] = {"__file__": str(path), "__name__": path.stem, BASE: _Section(bases)}
    exec(compile(tree, str(path), "exec"), scope)
    return {
        name: value
        for name, value in scope.items()
        if not (name.startswith("__") or name == BASE or name in imported or isinstance(value, (FunctionType, type)))
    }


class _Section(dict[str, Any]):
    """Values of `_base_`, whose keys may be written as attributes: `_base_.optimizer.lr`."""

    def __getattr__(self, name: str) -> Any:
        value = self[name]
        return _Section(value) if isinstance(value, dict) else value


def _is_base(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and any(isinstance(x, ast.Name) and x.id == BASE for x in node.targets)
