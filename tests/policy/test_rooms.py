"""The rooms stand in one order: a room imports only rooms above it in this list.

Imports for type checkers, inside functions, and modules that are named in strings count like any other.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "xtune"

ROOMS = (
    "text terminal errors registry environment paths foreign atomic compat",
    "conversation",
    "dist",
    "config",
    "plugins",
    "sources mappers",
    "quantization models",
    "templates encoding data",
    "tuning distributed strategies optimizers",
    "objectives",
    "callbacks",
    "catalogue registries names",
    "run rules resolve",
    "generate",
    "checkpoints evaluation training",
    "export",
    "estimate check rehearse",
    "commands cli __main__",
)
ORDER = {room: number for number, room in enumerate(" ".join(ROOMS).split())}
DATA_ONLY = ["configs"]


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def named_modules(tree: ast.AST) -> Iterator[str]:
    """Every dotted name below xtune that a file imports, or spells in a string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.fullmatch(r"xtune(\.\w+)+", node.value):
                yield node.value
        elif isinstance(node, ast.JoinedStr) and re.match(r"xtune\.\w+", _beginning(node)):
            yield _beginning(node)


def _beginning(node: ast.JoinedStr) -> str:
    first = node.values[0]
    return str(first.value) if isinstance(first, ast.Constant) else ""


def rooms_used(path: Path) -> set[str]:
    names = named_modules(ast.parse(path.read_text(encoding="utf-8")))
    return {name.split(".")[1] for name in names if name.startswith("xtune.")}


EVERY_FILE = [path for path in sorted(ROOT.rglob("*.py")) if path.parent != ROOT or path.name != "__init__.py"]
FILES = [path for path in EVERY_FILE if room_of(path) not in DATA_ONLY]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_uses_only_rooms_above_it(path):
    room = room_of(path)
    below = {other for other in rooms_used(path) & ORDER.keys() if ORDER[other] > ORDER[room]}
    assert not below, f"{path.relative_to(ROOT)} uses {', '.join(sorted(below))}: it stands below {room} in the order"


def test_the_wheel_takes_every_folder():
    """setuptools finds packages by their __init__.py: a folder without one runs from the source tree alone."""
    folders = {path.parent for path in ROOT.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_every_room_has_its_place():
    assert {room_of(path) for path in FILES} <= ORDER.keys()


def test_configs_are_data():
    data = [path for path in EVERY_FILE if room_of(path) in DATA_ONLY]
    assert len(data) > 300
    assert [path for path in data if rooms_used(path)] == []


@pytest.mark.parametrize("page", ["docs/design.md", "CONTRIBUTING.md"])
def test_the_pages_show_this_order(page):
    text = (ROOT.parent / page).read_text(encoding="utf-8")
    table = text.partition("```rooms\n")[2].partition("```")[0]
    shown = [word for line in table.splitlines() for word in line.partition("  ")[0].split()]
    assert shown == [room for room in ORDER if room != "__main__"]
