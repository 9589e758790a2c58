"""Values written as Python read back the same, whatever they are."""

from __future__ import annotations

import ast
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtune.config.write import WIDTH, dump, literal

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
VALUES = st.recursive(
    SCALARS | TEXT,
    lambda inner: st.lists(inner) | st.tuples(inner) | st.tuples(inner, inner) | st.dictionaries(TEXT, inner),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_written_reads_back(value: Any) -> None:
    assert eval(literal(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2e-4, "2e-4"),
        (1.5e-5, "1.5e-5"),
        (-1e-8, "-1e-8"),
        (0.01, "0.01"),
        (0.0, "0.0"),
        (3, "3"),
        ((0.9, 0.999), "(0.9, 0.999)"),
        ((1,), "(1,)"),
        ([], "[]"),
        ({}, "dict()"),
        ({"a": None}, "dict(a=None)"),
        ({"in": 1, "a b": True}, '{"in": 1, "a b": True}'),
        ({"ﹷ": 1}, '{"ﹷ": 1}'),
        ("上海\n\"'", '"上海\\n\\"\'"'),
    ],
)
def test_how_values_look(value: Any, text: str) -> None:
    assert literal(value) == text


def test_small_floats_keep_every_digit() -> None:
    for value in (math.ulp(0.0), 1 / 3000, 0.00999999999999999):
        assert float(literal(value)) == value


def test_long_values_break_one_item_a_line() -> None:
    data = [{"path": "x" * 60, "mapper": "alpaca", "options": {"instruction": "y" * 40}}, {"path": "z"}]
    text = dump({"data": data, "pack": True}, docstring="A config.", comments={"pack": "Two\nlines."})
    assert text.splitlines() == [
        '"""A config."""',
        "",
        "data = [",
        "    dict(",
        f'        path="{"x" * 60}",',
        '        mapper="alpaca",',
        f'        options=dict(instruction="{"y" * 40}"),',
        "    ),",
        '    dict(path="z"),',
        "]",
        "",
        "# Two",
        "# lines.",
        "pack = True",
    ]
    assert max(map(len, text.splitlines())) <= WIDTH
    ast.parse(text)
