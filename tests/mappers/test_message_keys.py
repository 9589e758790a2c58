"""A key of a message takes effect, is refused, or is named as one that nothing reads: never ignored in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from xtune.conversation import Conversation, Preference, Turn
from xtune.errors import DataError
from xtune.mappers.builtin import MAPPERS


def row(mapper: str, **keys: Any) -> dict[str, Any]:
    """A row of one question and an answer that has more `keys`."""
    question, answer = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a", **keys}
    if mapper == "sharegpt":
        return {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a", **keys}]}
    if mapper == "conversation":
        return {"conversation": [{"input": "q", "output": "a", **keys}]}
    if mapper == "preference":
        return {"chosen": [question, answer], "rejected": [question, {**answer, "content": "b"}]}
    return {"messages": [question, answer]}


def mapped(mapper: str, **keys: Any) -> Conversation:
    found = MAPPERS[mapper](row(mapper, **keys))
    return found.chosen if isinstance(found, Preference) else found


EVERY = pytest.mark.parametrize("mapper", ["openai", "sharegpt", "conversation", "preference"])


@EVERY
@pytest.mark.parametrize("key", ["loss", "weight", "train"])
@pytest.mark.parametrize(
    ("value", "learn"), [(False, False), (0, False), (0.0, False), (True, True), (1, True), (None, None)]
)
def test_a_message_says_whether_it_is_trained(mapper: str, key: str, value: Any, learn: bool | None) -> None:
    found = mapped(mapper, **{key: value})
    assert found.turns[-1] == Turn("assistant", "a", learn) and not found.unread


@EVERY
@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"train": "false"},
            "loss, weight and train should be true, false, 0 or 1: got text, 'false'; write true or false",
        ),
        (
            {"weight": 0.5},
            "loss, weight and train should be true, false, 0 or 1: got a number, 0.5; write true or false",
        ),
        ({"weight": 1, "train": False}, "loss, weight and train differ: got a list, [1, False]; keep one of them"),
    ],
)
def test_what_says_no_clear_yes_or_no_is_refused(mapper: str, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match="column `.*" + message.replace("[", r"\[")):
        mapped(mapper, **keys)


@EVERY
@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_is_read_under_every_name(mapper: str, key: str) -> None:
    found = mapped(mapper, **{key: "r"})
    assert found.turns[-1].text == "<think>\nr\n</think>\n\na" and not found.unread
    assert mapped(mapper, **{key: "r", "reasoning_content": "r"}) == found
    with pytest.raises(DataError, match="has several reasonings, which differ: got .*; keep one"):
        mapped(mapper, reasoning="r", thinking="s")
    with pytest.raises(DataError, match=f"{key}` should be text: got true or false, True"):
        mapped(mapper, **{key: True})


@EVERY
@pytest.mark.parametrize(
    "key", ["tool_calls", "function_call", "train_detail", "loss_scale", "images", "video", "audio"]
)
def test_what_would_change_the_training_is_refused(mapper: str, key: str) -> None:
    assert not mapped(mapper, **{key: None}).unread and not mapped(mapper, **{key: []}).unread
    with pytest.raises(DataError, match=f"has {key}, .*; "):
        mapped(mapper, **{key: [{"begin_offset": 0}]})


@EVERY
def test_other_keys_are_named(mapper: str) -> None:
    found = mapped(mapper, id=0, name="Ann", empty=None, need_eos_token=False, blank="", none=[])
    assert found.unread == {"id", "name", "need_eos_token"} and found == mapped(mapper)
    assert not mapped(mapper).unread


def test_a_second_text_and_reasoning_of_others_are_named() -> None:
    messages = [{"role": "user", "content": "q", "thinking": "r"}, {"role": "assistant", "content": "a", "value": "b"}]
    assert MAPPERS["openai"]({"messages": messages}).unread == {"thinking", "value"}
    plain = MAPPERS["conversation"]({"conversation": [{"input": "", "output": "text", "tag": "x", "weight": 0}]})
    assert (plain.unread, plain.turns[0].learn) == ({"tag"}, False)


def test_the_reports_name_them_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from xtune.cli import main
    from xtune.data.feed import Choice, Feed, map_rows
    from xtune.data.report import REASONS, Report
    from xtune.sources.source import open_source

    rows = [row("openai"), row("openai", name="Ann"), row("openai", name="Bo", id=7)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    report = Report()
    list(map_rows(Feed(open_source(path), MAPPERS["openai"]), Choice(False, 0.0, 0), report))
    assert ("keys not read", "2", "id 1, name 2; first in rows.jsonl, line 2") in report.lines()
    assert Report.from_json(json.loads(json.dumps(report.to_json()))) == report
    assert main(["check-custom-dataset", str(path)]) == 0
    assert "keys not read: id (rows.jsonl, line 3), name (rows.jsonl, line 2)\n" in capsys.readouterr().out
    for number in range(1000):
        report.pass_over([f"key {number}"], "here")
    assert len(report.unread) == REASONS
