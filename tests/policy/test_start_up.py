"""Listing and help start fast because they import little. Imports are counted, not seconds."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from xtune.commands import components

HEAVY = ["torch", "transformers", "peft", "mmengine", "datasets", "pydantic", "rich", "numpy", "openpyxl", "pyarrow"]
PROBE = """
import sys
from xtune.cli import main
try:
    code = main({words!r})
except SystemExit as stop:
    code = stop.code
heavy = [name for name in {heavy!r} if name in sys.modules]
print("HEAVY", code, heavy, file=sys.stderr)
"""


def imported(words: list[str]) -> str:
    probe = PROBE.format(words=words, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("name", ["", *components([]).commands])
def test_help_imports_nothing_heavy(name):
    assert imported([*name.split(), "--help"]) == "HEAVY 0 []"


def test_listing_configs_imports_nothing_heavy():
    assert imported(["list-cfg", "-p", "qlora"]) == "HEAVY 0 []"


def test_importing_xtune_imports_nothing_heavy():
    code = f"import sys, xtune; print([n for n in {HEAVY!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("options", [["--data", "no_such.json"], ["--model", "./no_such"]], ids=["data", "model"])
def test_a_local_mistake_is_reported_before_anything_heavy_is_imported(options):
    last = imported(["train", "smollm2_135m_instruct_lora_alpaca_e3", *options])
    code, heavy = last.removeprefix("HEAVY ").split(" ", 1)
    assert code == "2"
    assert not {"torch", "transformers", "peft", "datasets", "pyarrow"} & set(ast.literal_eval(heavy))
