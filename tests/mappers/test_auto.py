"""The format is recognised from columns, and from the first rows where they are the same."""

import pytest

from xtune.errors import DataError
from xtune.mappers.auto import GENERAL, choose
from xtune.mappers.builtin import MAPPERS
from xtune.mappers.examples import examples


@pytest.mark.parametrize("name", [*GENERAL, "self_identity", "oasst1", "msagent_react"])
def test_a_mappers_own_example_is_recognised(name: str) -> None:
    row = examples(MAPPERS[name])[0].row
    assert choose(list(row), [row]) == name


def test_other_columns_do_not_matter() -> None:
    assert choose(["instruction", "input", "output", "text"]) == "alpaca"
    assert choose(["prompt", "messages", "id"]) == "openai"
    assert choose(["messages", "chosen", "rejected"]) == "preference"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            ["question", "answer"],
            "the format is not recognised: got columns 'question', 'answer'; --mapper law_reference would read these, "
            "with a system message of its own; or choose --mapper default with options input=COLUMN output=COLUMN",
        ),
        (
            ["a"],
            "the format is not recognised: got columns 'a'; "
            "choose --mapper default with options input=COLUMN output=COLUMN",
        ),
        ([], "the format is not recognised: got columns none; choose --mapper"),
    ],
)
def test_unknown_columns_are_refused(columns: list[str], message: str) -> None:
    with pytest.raises(DataError) as caught:
        choose(columns)
    assert str(caught.value).startswith(message)
