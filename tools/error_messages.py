"""Finds every error message that xtune raises on purpose, by reading its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parents[1] / "xtune"
ERRORS = {"XtuneError", "ConfigError", "DataError", "ModelError", "PluginError", "CheckpointError", "error"}
ERRORS |= {"UnusableTemplate", "RefusedConversation"}
"""Classes, and what a parameter is called that holds one."""
USUAL = dict.fromkeys(("UnusableTemplate", "RefusedConversation"), "see `xtune list-templates` for others")
"""The hints of classes that have one of their own."""
FILLED_IN = "…"
"""Stands for what a message fills in."""


class Message(NamedTuple):
    """What is wrong, and what to do; "" where nothing is said."""

    fact: str
    hint: str


def modules() -> list[Path]:
    """The source files of xtune, without the generated configs."""
    return sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "configs")


def messages(path: Path) -> list[Message]:
    """The messages of the errors that a source file makes, in order, with FILLED_IN where values go.

    A message that another function of the file writes is that function's; one that is passed on from elsewhere,
    such as `ModelError(str(error))`, shows as FILLED_IN alone.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    calls.sort(key=lambda node: (node.lineno, node.col_offset))
    return list(dict.fromkeys(found for call in calls for found in _of_call(call, tree)))


def _of_call(call: ast.Call, tree: ast.Module) -> Iterator[Message]:
    """The messages that a call makes, where it makes one."""
    name, given = _name(call.func), {keyword.arg: keyword.value for keyword in call.keywords}
    if name == "failure":  # of xtune.plugins.checks
        hint = _spelt(call.args[2], tree) if len(call.args) > 2 else "install another version of it"
        yield Message(f"plugin {FILLED_IN} {_spelt(call.args[1], tree)}", hint)
    elif name == "foreign":
        yield Message(f"{_spelt(call.args[0], tree)}: {FILLED_IN}", _spelt(call.args[2], tree))
    elif name == "read_json" and "what" in given:
        hint = _spelt(given["hint"], tree) if "hint" in given else constants(PACKAGE / "foreign.py")["ANOTHER"]
        yield Message(f"{_spelt(given['what'], tree)} `{FILLED_IN}`: {FILLED_IN}", hint)
    elif name in ERRORS and call.args:
        first = call.args[0].value if isinstance(call.args[0], ast.Starred) else call.args[0]
        hint = _spelt(call.args[1], tree) if len(call.args) > 1 else USUAL.get(name, "")
        for value in _written(first, tree):
            both = value.elts if isinstance(value, ast.Tuple) else (value, None)
            yield Message(_spelt(both[0], tree), _spelt(both[1], tree) if both[1] is not None else hint)


def _written(value: ast.expr, tree: ast.Module) -> Iterator[ast.expr]:
    """The expressions that a value is: what a function of the same file returns, where it calls one."""
    name = _name(value.func) if isinstance(value, ast.Call) else ""
    called = next((node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name), None)
    if called is None:
        yield value
    else:
        returned = (node.value for node in ast.walk(called) if isinstance(node, ast.Return))
        yield from (value for value in returned if value is not None)


def _spelt(value: ast.expr, tree: ast.Module) -> str:
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value
    if isinstance(value, ast.JoinedStr):
        return "".join(_spelt(part, tree) for part in value.values).replace(FILLED_IN * 2, FILLED_IN)
    if isinstance(value, ast.Name):
        return _constants(tree).get(value.id, FILLED_IN)
    return FILLED_IN


@cache
def constants(path: Path) -> dict[str, str]:
    """The texts that a source file gives names to, or imports by name from one that does."""
    return _constants(ast.parse(path.read_text(encoding="utf-8")))


@cache
def _constants(tree: ast.Module) -> dict[str, str]:
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("xtune."):
            there = PACKAGE.joinpath(*str(node.module).split(".")[1:]).with_suffix(".py")
            names = {alias.name for alias in node.names if alias.name.isupper()}
            if names and there.is_file():
                found |= {name: text for name, text in constants(there).items() if name in names}
        elif isinstance(node, ast.Assign) and isinstance(node.value, (ast.Constant, ast.JoinedStr)):
            text = _spelt(node.value, ast.Module([], [])) if isinstance(node.targets[0], ast.Name) else ""
            if text:
                found[_name(node.targets[0])] = text
    return found


def _name(value: ast.expr) -> str:
    return value.id if isinstance(value, ast.Name) else ""
