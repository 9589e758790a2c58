"""Where the text of a message stands, and the reasoning before it, which renders as the vendor's template has it."""

import pytest

from xtune.conversation import Turn
from xtune.errors import DataError
from xtune.mappers.chat import openai, sharegpt
from xtune.mappers.preference import preference
from xtune.names import render

USER = {"role": "user", "content": "a"}


def answer(**more: object) -> dict:
    return {"messages": [USER, {"role": "assistant", "content": "b", **more}]}


@pytest.mark.parametrize(
    ("mapper", "row", "message"),
    [
        (
            sharegpt,
            {"conversations": [{"from": "human", "text": "Hi"}, {"from": "gpt", "value": "Hello"}]},
            "column `conversations, message 1` has no text under `value`: got keys 'from', 'text'; "
            "write the text under value",
        ),
        (
            sharegpt,
            {"conversations": [{"from": "human", "text": "Hi", "value": None}, {"from": "gpt", "value": "Hello"}]},
            "column `conversations, message 1` has no text under `value`: got keys 'from', 'text'; ",
        ),
        (
            openai,
            {"messages": [{"role": "user", "value": "Hi"}, {"role": "assistant", "value": "Hello"}]},
            "column `messages, message 1` has no text under `content`: got keys 'role', 'value'; "
            "write the text under content",
        ),
        (openai, {"messages": [USER, {"role": "assistant"}]}, "column `messages, message 2` has no text under"),
        (
            openai,
            {"messages": [{"role": "user", "content": [{"type": "text", "content": "Hi"}]}]},
            "column `messages, message 1` has no text under `text`: got keys 'type', 'content'; write",
        ),
        (
            preference,
            {"prompt": "q", "chosen": {"role": "assistant", "text": "a"}, "rejected": "b"},
            "column `chosen, message 1` has no text under `content`: got keys 'role', 'text'; write",
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


def test_reasoning_stands_before_its_answer() -> None:
    assert openai(answer(reasoning_content="r")).turns[1] == Turn("assistant", "<think>\nr\n</think>\n\nb")
    assert openai(answer(reasoning_content="r", loss=False)).turns[1].learn is False
    for nothing in (None, "", "\n"):
        assert openai(answer(reasoning_content=nothing)).turns[1].text == "b"
    assert openai(answer(content="", reasoning_content="r")).turns == ()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            answer(content="<think>r</think>b", reasoning_content="r"),
            "column `messages, message 2` has reasoning_content and <think> or </think> in its text: "
            "got text, '<think>r</think>b'; keep the reasoning in one of them",
        ),
        (answer(reasoning_content="r</think>"), "column `messages, message 2` has reasoning_content and <think> or"),
        (answer(reasoning_content=["r"]), "column `messages, message 2, reasoning_content` should be text: got a list"),
        (
            {"messages": [*answer()["messages"], {"role": "assistant", "content": "c", "reasoning_content": "r"}]},
            "column `messages, message 3` has reasoning in the middle of an answer, which goes on from the message "
            "before: got text, ",
        ),
    ],
)
def test_reasoning_whose_end_is_not_clear_is_refused(row: dict, message: str) -> None:
    with pytest.raises(DataError) as caught:
        openai(row)
    assert str(caught.value).startswith(message)


def test_reasoning_renders_as_the_vendors_template_writes_it(shared) -> None:
    from xtune import load_tokenizer

    vendor = load_tokenizer(shared / "data/tokenizers/qwen3")
    messages = [
        {"role": "system", "content": "S"},
        USER,
        {"role": "assistant", "content": "back", "reasoning_content": "this is dropped"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "call", "reasoning_content": "look it up"},
        {"role": "tool", "content": "3"},
        {"role": "assistant", "content": "It is 3.", "reasoning_content": "\nso\n\nthree\n"},
    ]
    for number in (3, 7):
        spans = render(openai({"messages": messages[:number]}), "qwen3_chat")
        written = "".join(span.text for span in spans)
        assert written == vendor.apply_chat_template(messages[:number], tokenize=False)
    trained = "".join(span.text for span in spans if span.learn)
    assert "look it up" in trained and "so\n\nthree\n</think>\n\nIt is 3." in trained and "back" not in trained
