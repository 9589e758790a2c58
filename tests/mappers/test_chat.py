"""Message lists: every speaker, what is joined and left out, and what is refused."""

import json

import pytest

from xtune.conversation import Turn
from xtune.errors import DataError
from xtune.mappers.chat import conversation, oasst1, openai, pretrain, sharegpt


def messages(*pairs: tuple) -> dict:
    return {
        "messages": [{"role": role, "content": content, **(more[0] if more else {})} for role, content, *more in pairs]
    }


def said(row: dict, mapper=openai, **options) -> list[tuple[str, str]]:
    return [(turn.role, turn.text) for turn in mapper(row, **options).turns]


def test_messages_of_one_speaker_are_joined_with_a_blank_line() -> None:
    row = messages(
        ("system", "S"), ("system", "T"), ("user", "a"), ("user", "b"), ("assistant", "c"), ("assistant", "d")
    )
    assert said(row) == [("system", "S\n\nT"), ("user", "a\n\nb"), ("assistant", "c\n\nd")]


def test_tool_messages_stay_apart_and_function_is_tool_and_developer_is_system() -> None:
    row = messages(
        ("developer", "S"), ("user", "a"), ("assistant", "call"), ("tool", "1"), ("function", "2"), ("assistant", "b")
    )
    assert said(row) == [
        ("system", "S"), ("user", "a"), ("assistant", "call"), ("tool", "1"), ("tool", "2"), ("assistant", "b"),
    ]  # fmt: skip


def test_an_answer_before_the_first_question_and_what_follows_the_last_answer_are_left_out() -> None:
    row = messages(
        ("system", "S"), ("assistant", "Hi"), ("tool", "t"), ("user", "a"), ("assistant", "b"), ("user", "c")
    )
    assert said(row) == [("system", "S"), ("user", "a"), ("assistant", "b")]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": []},
        {"messages": None},
        messages(("system", "S")),
        messages(("user", "a")),
        messages(("assistant", "a")),
        messages(("user", "a"), ("assistant", "")),
        messages(("user", "a"), ("assistant", None)),
    ],
)
def test_rows_without_an_exchange_are_empty(row: dict) -> None:
    assert openai(row).turns == ()


@pytest.mark.parametrize(("flag", "learn"), [(True, True), (False, False), (1, True), (0, False), (None, None)])
@pytest.mark.parametrize("name", ["loss", "weight"])
def test_flags_decide_what_is_trained(name: str, flag: object, learn: bool | None) -> None:
    row = messages(("user", "a"), ("assistant", "b", {name: flag}))
    assert openai(row).turns[1] == Turn("assistant", "b", learn)


def test_an_answer_without_text_is_never_trained() -> None:
    row = messages(("user", "a"), ("assistant", ""), ("user", "b"), ("assistant", "c"))
    assert [turn.learn for turn in openai(row).turns] == [None, False, None, None]


def test_text_parts_are_joined_by_lines() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert said(messages(("user", parts), ("assistant", "c")))[0] == ("user", "a\nb")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (messages(("usr", "a")), "column `messages, message 1` has no known role: got text, 'usr'; did you mean user"),
        (messages((None, "a")), "column `messages, message 1` has no known role: got null; give it role (or from)"),
        ({"messages": ["a"]}, "column `messages, message 1` should be an object: got text, 'a'; give role and content"),
        ({"messages": "[]"}, "column `messages` should be a list: got text, '[]'; choose another column or mapper"),
        ({"text": ""}, "column `messages` is missing: got columns 'text'; --mapper pretrain reads these"),
        (
            messages(("user", "a"), ("assistant", None, {"tool_calls": [{"id": 1}]})),
            "column `messages, message 2` has tool_calls, which no template writes; write the call as text in content",
        ),
        (
            messages(("user", [{"type": "image_url", "image_url": "x"}])),
            "column `messages, message 1` should be text parts: got an object, {'type': 'image_url', 'image_url': "
            "'x'}; xtune trains on text only",
        ),
        (messages(("user", {"a": 1})), "column `messages, message 1` should be text: got an object, {'a': 1}"),
        (
            messages(("user", "a"), ("system", "S")),
            "column `messages, message 2`: a system message should come first: got one after 1 "
            "turns; move it to the start",
        ),
        (
            messages(("user", "a"), ("assistant", "b", {"loss": "yes"})),
            "column `messages, message 2`: loss, weight and train should be true, false, 0 or 1: "
            "got text, 'yes'; write true or false",
        ),
        (
            messages(("user", "a"), ("assistant", "b", {"loss": False}), ("assistant", "c")),
            "column `messages, message 3`: loss differs from that of the message before, of the same role: got `None`; "
            "make them alike, or one message",
        ),
        (
            {**messages(("user", "a")), "tools": [{"name": "f"}]},
            "column `tools` has tool definitions, which no template writes: got a list, [{'name': 'f'}]; "
            "write them into the system message and empty the column",
        ),
        (
            {**messages(("user", "a")), "functions": [{"name": "f"}]},
            "column `functions` has tool definitions, which no template writes: got a list, [{'name': 'f'}]; ",
        ),
    ],
)
def test_what_cannot_be_trained_on_is_refused(row: dict, message: str) -> None:
    with pytest.raises(DataError) as caught:
        openai(row)
    assert str(caught.value).startswith(message)


def test_sharegpt_knows_its_speakers_and_a_system_column() -> None:
    row = {
        "system": "S",
        "conversations": [
            {"from": "human", "value": "a"},
            {"from": "function_call", "value": '{"name": "f"}'},
            {"from": "observation", "value": "1"},
            {"from": "gpt", "value": "b"},
        ],
    }
    assert said(row, sharegpt) == [
        ("system", "S"), ("user", "a"), ("assistant", '{"name": "f"}'), ("tool", "1"), ("assistant", "b"),
    ]  # fmt: skip
    row["conversations"].insert(0, {"from": "system", "value": "own"})
    assert said(row, sharegpt)[0] == ("system", "own")


def test_openai_reads_a_system_column_as_anthropic_has_it() -> None:
    row = {"system": "S", **messages(("user", "a"), ("assistant", "b"))}
    assert said(row) == [("system", "S"), ("user", "a"), ("assistant", "b")]
    assert said({**row, "about": "T"}, system="about")[0] == ("system", "T")
    row["messages"].insert(0, {"role": "system", "content": "own"})
    assert said(row)[0] == ("system", "own")


def test_both_vocabularies_are_read_in_either_column() -> None:
    row = {"conversations": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    assert said(row, sharegpt) == said(row, openai, messages="conversations") == [("user", "a"), ("assistant", "b")]


def test_conversation_with_an_empty_input_is_plain_text() -> None:
    mapped = conversation({"conversation": [{"input": "", "output": " long text "}]})
    assert mapped.plain and mapped.turns == (Turn("assistant", "long text"),)
    assert conversation({"conversation": []}).turns == ()
    with pytest.raises(
        DataError, match=r"column `conversation, turn 1` should be an object: got text, 'a'; give input"
    ):
        conversation({"conversation": ["a"]})


def test_plain_text_is_left_unlearnt_where_the_row_says_so() -> None:
    mapped = conversation({"conversation": [{"input": "", "output": "Lima.", "output_with_loss": False}]})
    assert mapped.plain and mapped.turns == (Turn("assistant", "Lima.", False),)


def test_conversation_reads_humans_and_assistants_and_messages_too() -> None:
    pairs = [{"system": "S", "human": "a", "assistant": "b"}, {"human": "c", "assistant": "d"}]
    turns = [("system", "S"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    assert said({"conversation": pairs}, conversation) == turns
    row = {"conversation": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    assert said(row, conversation) == said({"messages": row["conversation"]}) == [("user", "a"), ("assistant", "b")]
    with pytest.raises(DataError, match="column `tools` has tool definitions"):
        conversation({**row, "tools": [{"name": "f"}]})


@pytest.mark.parametrize(
    ("exchange", "message"),
    [
        (
            {"instruction": "Capital of Peru?", "output": "Lima."},
            "column `conversation, turn 1` has no text under `input`: got keys 'instruction', 'output'; "
            "write the text under input",
        ),
        (
            {"instruction": "Capital?", "input": "Peru", "output": "Lima."},
            "column `conversation, turn 1` has an instruction, which would not be trained on: got text, 'Capital?'; "
            "write it into input",
        ),
        ({"output": "Lima."}, "column `conversation, turn 1` has no text under `input`: got keys 'output'; write"),
        ({"human": "a", "gpt": "b"}, "column `conversation, turn 1` has no text under `assistant`: got keys 'human',"),
        ({}, "column `conversation, turn 1` has no text under `input`: got keys none; write the text under input"),
    ],
)
def test_an_exchange_whose_text_has_another_key_is_refused(exchange: dict, message: str) -> None:
    with pytest.raises(DataError) as caught:
        conversation({"conversation": [exchange]})
    assert str(caught.value).startswith(message)


def test_oasst1_splits_at_speakers_only() -> None:
    row = {"text": "### Human: How?\n### Assistant: Like this:\n### Step 1\nDo it.### Human: Thanks"}
    assert said(row, oasst1) == [("user", "How?"), ("assistant", "Like this:\n### Step 1\nDo it.")]
    assert oasst1({"text": ""}).turns == ()
    with pytest.raises(DataError, match=r"should have '### Human:' .*: got text, 'plain'; for plain text use --mapper"):
        oasst1({"text": "plain"})


def test_oasst1_reads_what_stands_before_the_first_speaker_as_the_system_message() -> None:
    row = {"text": "Be brief.\n### Human: How?### Assistant: So."}
    assert said(row, oasst1) == [("system", "Be brief."), ("user", "How?"), ("assistant", "So.")]
    assert said({"text": " \n### Human: How?### Assistant: So."}, oasst1)[0] == ("user", "How?")


def test_pretrain_is_plain() -> None:
    assert pretrain({"text": "\n a \n"}).plain
    assert pretrain({"text": "\n"}).turns == ()


def test_a_conversation_survives_json() -> None:
    row = messages(("user", "😀 你好"), ("assistant", "ok"))
    assert openai(json.loads(json.dumps(row))) == openai(row)
