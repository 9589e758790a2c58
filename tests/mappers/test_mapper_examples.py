"""Every mapper has an example in its docstring that is true, and is listed among the formats."""

import doctest
import importlib

import pytest
from xtuner_systems import SYSTEMS

from xtune.conversation import Conversation, Preference
from xtune.mappers import systems
from xtune.mappers.auto import GENERAL, READS
from xtune.mappers.builtin import MAPPERS
from xtune.mappers.examples import examples
from xtune.registries import components

MODULES = sorted({mapper.__module__ for mapper in MAPPERS.values()})


@pytest.mark.parametrize("module", MODULES)
def test_docstrings_are_true(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted and not result.failed


@pytest.mark.parametrize("name", MAPPERS)
def test_a_mapper_reads_its_example_and_that_has_the_columns_it_is_said_to_read(name: str) -> None:
    found = examples(MAPPERS[name])
    assert found
    for row, options in found:
        mapped = MAPPERS[name](row, **options)
        assert isinstance(mapped, (Conversation, Preference))
        assert getattr(mapped, "chosen", mapped).turns
    assert set(READS[name]) <= set(found[0].row)


def test_formats_and_mappers_are_the_same_names() -> None:
    assert set(READS) == set(MAPPERS) == set(components([]).mappers)
    assert set(GENERAL) < set(MAPPERS)


def test_system_messages_in_rows_equal_those_shown_at_evaluation() -> None:
    pairs = {"ARXIV": "arxiv_gentile", "CODER": "coder", "COLORIST": "colorist", "LAWYER": "lawyer",
             "MEDICAL": "medical", "SQL": "sql"}  # fmt: skip
    for ours, theirs in pairs.items():
        assert getattr(systems, ours) == SYSTEMS[theirs]
