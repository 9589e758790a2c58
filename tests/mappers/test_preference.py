"""Preference pairs in the layouts of the hub; what both sides share is context."""

import pytest

from xtune.conversation import Conversation, Preference, Turn
from xtune.errors import DataError
from xtune.mappers.preference import preference

PAIR = Preference(
    chosen=preference({"prompt": "q", "chosen": "good", "rejected": "bad"}).chosen,
    rejected=preference({"prompt": "q", "chosen": "good", "rejected": "bad"}).rejected,
)


def message(role: str, content: str) -> dict:
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [message("user", "q")], "chosen": [message("assistant", "good")],
         "rejected": [message("assistant", "bad")]},
        {"prompt": "q", "chosen": [message("user", "q"), message("assistant", "good")],
         "rejected": [message("user", "q"), message("assistant", "bad")]},
        {"system": "", "question": "q", "chosen": "good", "rejected": "bad"},
        {"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "good"},
         "rejected": {"from": "gpt", "value": "bad"}},
    ],
)  # fmt: skip
def test_the_layouts_give_the_same_pair(row: dict) -> None:
    assert preference(row) == PAIR
    assert PAIR.chosen.turns == (Turn("user", "q"), Turn("assistant", "good"))


def test_answers_that_both_sides_share_are_not_trained() -> None:
    shared = [message("system", "S"), message("user", "a"), message("assistant", "b"), message("user", "c")]
    pair = preference(
        {"chosen": [*shared, message("assistant", "d")], "rejected": [*shared, message("assistant", "e")]}
    )
    assert [turn.learn for turn in pair.chosen.turns] == [None, None, False, None, None]
    assert [turn.text for turn in pair.rejected.turns] == ["S", "a", "b", "c", "e"]


@pytest.mark.parametrize(("chosen", "rejected"), [("a", "a"), ("", "a"), ("a", None), ([], "a")])
def test_nothing_to_prefer_is_empty(chosen: object, rejected: object) -> None:
    pair = preference({"prompt": "q", "chosen": chosen, "rejected": rejected})
    assert pair.chosen.turns == pair.rejected.turns == ()


def test_a_system_column_stands_first() -> None:
    pair = preference({"system": "S", "question": "q", "chosen": "a", "rejected": "b"})
    assert pair.chosen.turns[0] == pair.rejected.turns[0] == Turn("system", "S")


def test_a_missing_side_and_a_wrong_type_are_refused() -> None:
    with pytest.raises(DataError, match="column `rejected` is missing: got columns 'prompt', 'chosen'"):
        preference({"prompt": "q", "chosen": "a"})
    with pytest.raises(DataError, match="column `chosen, message 1` should be text: got true or false, True"):
        preference({"prompt": "q", "chosen": True, "rejected": "a"})


def test_the_chosen_alone_is_an_ordinary_conversation() -> None:
    turns = [message("user", "a"), message("assistant", "b"), message("user", "c"), message("assistant", "d")]
    row = {"chosen": turns, "rejected": [*turns[:3], message("assistant", "e")]}
    alone = preference(row, take="chosen")
    assert isinstance(alone, Conversation)
    assert [turn.text for turn in alone.turns] == ["a", "b", "c", "d"]
    assert all(turn.learn is None for turn in alone.turns)  # the answer before is trained on too
    assert preference({"prompt": "q", "chosen": "a", "rejected": ""}, take="chosen").turns[1].text == "a"
    with pytest.raises(DataError, match="option take, should be both or chosen: got `rejected`; write one of them"):
        preference(row, take="rejected")
