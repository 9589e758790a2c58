"""The rooms stand in layers: a lower one never imports a higher one, and rooms of layer 2 never import each other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "xtune"

LAYERS = {
    0: ["errors", "registry", "hookspecs", "units", "environment", "text", "foreign", "atomic"],
    1: ["config", "conversation", "location", "plugins", "plugin_checks"],
    2: ["models", "templates", "mappers", "data", "strategies"],
    3: ["catalogue", "contradictions", "resolve"],
    4: ["engine", "convert", "chat", "preflight"],
    5: ["commands", "cli", "__main__"],
}
LAYER = {room: number for number, rooms in LAYERS.items() for room in rooms}
DATA_ONLY = ["configs", "rows"]


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[str, bool]]:
    """Rooms of xtune that a file imports, and whether only for type checkers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
            if node.module == "xtune":
                names = [f"xtune.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: relative import"
        found += [(name.split(".")[1], id(node) in typing_only) for name in names if name.startswith("xtune.")]
    return found


EVERY_FILE = [path for path in sorted(ROOT.rglob("*.py")) if path.parent != ROOT or path.name != "__init__.py"]

FILES = [path for path in EVERY_FILE if room_of(path) not in DATA_ONLY]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_import_goes_up_or_sideways(path):
    room = room_of(path)
    for other, typing_only in imports(path):
        if other == room or other not in LAYER or typing_only:
            continue
        assert LAYER[other] <= LAYER[room], f"{path.relative_to(ROOT)} imports {other}, which is above it"
        if LAYER[room] == 2:
            assert LAYER[other] < 2, f"{path.relative_to(ROOT)} imports its neighbour {other}"


def test_configs_and_rows_are_data():
    data = [path for path in EVERY_FILE if room_of(path) in DATA_ONLY]
    assert len(data) > 600
    assert [path for path in data if imports(path)] == []


def test_every_room_has_a_layer():
    assert {room_of(path) for path in FILES} <= set(LAYER)


@pytest.mark.parametrize("page", ["docs/design.md", "CONTRIBUTING.md"])
def test_the_pages_show_these_layers(page):
    lines = (ROOT.parent / page).read_text(encoding="utf-8").splitlines()
    shown = {
        int(line.split("|")[1]): set(re.findall("`([a-z_]+)`", line)) for line in lines if re.match(r"\| \d \|", line)
    }
    assert shown == {number: set(rooms) - {"__main__"} for number, rooms in LAYERS.items()}
