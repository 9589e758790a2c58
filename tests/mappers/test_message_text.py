"""Where the text of a message stands."""

import pytest

from xtune.conversation import Turn
from xtune.errors import DataError
from xtune.mappers.chat import openai, sharegpt
from xtune.mappers.preference import preference

USER = {"role": "user", "content": "a"}


def answer(**more: object) -> dict:
    return {"messages": [USER, {"role": "assistant", "content": "b", **more}]}


@pytest.mark.parametrize(
    ("mapper", "row", "message"),
    [
        (
            sharegpt,
            {"conversations": [{"from": "human", "text": "Hi"}, {"from": "gpt", "value": "Hello"}]},
            "column 'conversations, message 1' has no text under 'value': got keys 'from', 'text'; "
            "write the text under value",
        ),
        (
            sharegpt,
            {"conversations": [{"from": "human", "text": "Hi", "value": None}, {"from": "gpt", "value": "Hello"}]},
            "column 'conversations, message 1' has no text under 'value': got keys 'from', 'text'; ",
        ),
        (
            openai,
            {"messages": [{"role": "user", "value": "Hi"}, {"role": "assistant", "value": "Hello"}]},
            "column 'messages, message 1' has no text under 'content': got keys 'role', 'value'; "
            "write the text under content",
        ),
        (openai, {"messages": [USER, {"role": "assistant"}]}, "column 'messages, message 2' has no text under"),
        (
            openai,
            {"messages": [{"role": "user", "content": [{"type": "text", "content": "Hi"}]}]},
            "column 'messages, message 1' has no text under 'text': got keys 'type', 'content'; write",
        ),
        (
            preference,
            {"prompt": "q", "chosen": {"role": "assistant", "text": "a"}, "rejected": "b"},
            "column 'chosen, message 1' has no text under 'content': got keys 'role', 'text'; write",
        ),
    ],
)
def test_text_under_another_key_is_refused(mapper, row: dict, message: str) -> None:
    with pytest.raises(DataError) as caught:
        mapper(row)
    assert str(caught.value).startswith(message)


def test_keys_that_a_table_filled_up_do_not_matter() -> None:
    row = {"messages": [{"from": None, "value": None, **message} for message in answer()["messages"]]}
    assert openai(row) == openai(answer())


def test_text_that_is_there_and_empty_is_no_text() -> None:
    turns = [USER, {"role": "assistant", "content": None}, USER, {"role": "assistant", "content": "b"}]
    assert openai({"messages": turns}).turns[1] == Turn("assistant", "", False)
    assert openai({"messages": [USER, {"role": "assistant", "content": []}]}).turns == ()
    with pytest.raises(DataError, match="has tool_calls, which no template writes"):
        openai(answer(content=None, tool_calls=[{"id": 1}]))
