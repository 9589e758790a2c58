"""Outside xtune/compat nothing touches what other libraries keep to themselves: names with an underscore, by attribute,
import or getattr, and attributes of their modules.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "xtune"
FILES = [path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] not in ("compat", "configs")]

DOCUMENTED = {
    "_asdict": "of every NamedTuple",
    "_fields": "of every NamedTuple",
    "_replace": "of every NamedTuple",
    "_exit": "os._exit, which ends a process at once",
}
OVERRIDDEN = {
    "_init_weights": "transformers calls it for weights that no file has, and says that subclasses extend it",
    "_save_pretrained": "transformers' tokenizers call it to write their files",
    "_update_trie": "transformers' tokenizers call it for added tokens",
}
"""Methods that a class of ours extends: there, and on super() alone, they may be named."""


def is_private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.endswith("__") and name != "_"


def own_names(tree: ast.AST) -> Iterator[str]:
    """Names that a file itself gives: functions, classes, fields, and what a method sets on self or cls."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
            yield node.attr


def is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def is_super(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"


def imported(tree: ast.AST) -> set[str]:
    """Names of modules of others."""
    found = [alias for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    known = {"xtune", *sys.stdlib_module_names}
    return {(alias.asname or alias.name).partition(".")[0] for alias in found} - known


def taken(tree: ast.AST, own: set[str]) -> Iterator[tuple[int, str]]:
    """Lines, and what of others they touch there."""
    modules = imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            allowed = node.attr in DOCUMENTED or node.attr in own or (is_super(node.value) and node.attr in OVERRIDDEN)
            if is_private(node.attr) and not allowed:
                yield node.lineno, ast.unparse(node)
            root = node.value
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(node.ctx, (ast.Store, ast.Del)) and isinstance(root, ast.Name) and root.id in modules:
                yield node.lineno, f"{ast.unparse(node)} = ..."
        elif isinstance(node, ast.ImportFrom):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            if any(map(is_private, names)) and not (node.module or "").startswith("xtune"):
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "hasattr", "delattr"):
            name = node.args[1]
            if isinstance(name, ast.Constant) and is_private(name.value):
                yield node.lineno, ast.unparse(node)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_keeps_to_what_libraries_document(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [f"line {line}: {text}" for line, text in taken(tree, set(own_names(tree)) - set(OVERRIDDEN))]
    assert not found, f"{path.relative_to(ROOT)} needs a function of xtune/compat, with a test of what it does: {found}"


@pytest.mark.parametrize(
    ("text", "caught"),
    [
        ("model.config._attn_implementation", True),
        ("import torch\ntorch._C", True),
        ("getattr(kind, '_supports_sdpa', True)", True),
        ("setattr(kind, '_supports_sdpa', True)", True),
        ("from torch._inductor import config", True),
        ("from torch import _dynamo", True),
        ("import deepspeed\ndeepspeed.ops.found = 1", True),
        ("import torch\ndel torch.compile", True),
        ("self._of_its_parent", True),
        ("model._init_weights(layer)", True),
        ("class A(B):\n    def _init_weights(self, x):\n        super()._init_weights(x)", False),
        (
            "class A:\n    def f(self):\n        self._own = 1\n    def g(self, other):\n        return other._own",
            False,
        ),
        ("from __future__ import annotations\nobject.__setattr__(a, '_b', 1)", False),
        ("pair._replace(a=1)", False),
        ("from xtune.cli import _main", False),
        ("config.seed = 1", False),
    ],
)
def test_what_is_caught(text, caught):
    tree = ast.parse(text)
    assert bool(list(taken(tree, set(own_names(tree)) - set(OVERRIDDEN)))) is caught


def test_every_exception_is_in_use():
    used = {
        node.attr for path in FILES for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)
    }
    assert not (DOCUMENTED.keys() | OVERRIDDEN.keys()) - used
