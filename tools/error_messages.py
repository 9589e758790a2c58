"""Finds every error message that xtune raises on purpose, by reading its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "xtune"
ERRORS = {
    "XtuneError",
    "ConfigError",
    "DataError",
    "ModelError",
    "PluginError",
    "CheckpointError",
    "TuningError",
    "OtherTokenizer",
}
ERRORS |= {"UnusableTemplate", "RefusedConversation"}
FILLED_IN = "…"
"""Stands for what a message fills in."""


def modules() -> list[Path]:
    """The source files of xtune, without the generated configs."""
    return sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "configs")


def messages(path: Path) -> list[str]:
    """The messages of the errors that a source file makes, in order, with FILLED_IN where values go.

    A message that another function of the file writes is that function's; one that is passed on from elsewhere,
    such as `ModelError(str(error))`, shows as FILLED_IN alone.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _name(node.func) in ERRORS]
    calls.sort(key=lambda node: (node.lineno, node.col_offset))
    texts = [text for call in calls for text in _texts(call.args[0], functions)]
    return list(dict.fromkeys(texts + _plugin_failures(tree)))


def _plugin_failures(tree: ast.Module) -> list[str]:
    """What `failure(name, problem)` of xtune.plugins.checks is called with."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _name(node.func) == "failure"]
    return [f"plugin {FILLED_IN} {_spelt(call.args[1])}" for call in calls]


def _texts(value: ast.expr, functions: dict[str, ast.FunctionDef]) -> Iterator[str]:
    called = functions.get(_name(value.func)) if isinstance(value, ast.Call) else None
    if called is None:
        yield _spelt(value)
        return
    for node in ast.walk(called):
        if isinstance(node, ast.Return) and node.value is not None:
            yield _spelt(node.value)


def _spelt(value: ast.expr) -> str:
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value
    if isinstance(value, ast.JoinedStr):
        return "".join(map(_spelt, value.values)).replace(FILLED_IN * 2, FILLED_IN)
    return FILLED_IN


def _name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else ""
