"""Files and functions are short: typically 120 lines and 40. Those that are longer have a reason here."""

from __future__ import annotations

import ast

import pytest
from test_rooms import DATA_ONLY, ROOT, room_of

FILE, FUNCTION = 200, 40
TYPICAL, SHARE = 120, 0.7
"""So large a share of the files has at most so many lines."""
LONG_FILES = {
    "commands/plugin_files.py": "the texts of the files of a new plugin",
    "catalogue/datasets.py": "a table of data sets",
    "templates/render.py": "one pass over a conversation, the hot path of preparing data",
    "templates/own_jinja/meter.py": "every way in which a stranger's template makes much, side by side",
    "templates/own_jinja/sandbox.py": "every way out of Jinja that is closed, side by side",
    "config/literals.py": "one small language, read by one visitor",
    "export/adapters.py": "both directions of one conversion",
    "checkpoints/checkpoint.py": "one format: how it is written, found, verified and deleted",
    "dist/launch.py": "the life of a run's processes, from their start to their end",
    "sources/text.py": "all readers of lines, which share their limits",
}
LONG_FUNCTIONS = {
    ("commands/convert.py", "add_arguments"): "a list of arguments",
    ("data/collate.py", "collate"): "a docstring that specifies every tensor",
    ("mappers/preference.py", "preference"): "a docstring with an example of each format",
    ("sources/text.py", "_table"): "one loop over lines, of which each may be broken in another way",
}

FILES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(ROOT.rglob("*.py"))
    if room_of(path) not in DATA_ONLY
}


def test_files_are_short():
    lengths = {name: text.count("\n") for name, text in FILES.items()}
    assert {name for name, length in lengths.items() if length > FILE} == LONG_FILES.keys()
    assert sum(length <= TYPICAL for length in lengths.values()) >= SHARE * len(lengths)


def test_functions_are_short():
    long = {
        (name, node.name)
        for name, text in FILES.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION
    }
    assert long == LONG_FUNCTIONS.keys()


@pytest.mark.parametrize("reason", [*LONG_FILES.values(), *LONG_FUNCTIONS.values()])
def test_every_exception_has_a_reason(reason):
    assert len(reason.split()) > 2
