"""Lists of messages -> turns: the one reader behind OpenAI, ShareGPT and preference data."""

from __future__ import annotations

from typing import Any

from xtune.conversation import Conversation, Turn
from xtune.errors import DataError, suggestion
from xtune.mappers.columns import EMPTY, blank, describe
from xtune.mappers.message_text import REASONING, text_of, with_reasoning

ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant",
    "model": "assistant", "function_call": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool", "function_response": "tool",
}  # fmt: skip
"""What data call the speakers, and the role of the turn."""

_FLAGS = {None: None, 0: False, 1: True}  # 0 and 1 are also False and True, 0.0 and 1.0
LEARN = ("loss", "weight", "train", "output_with_loss")
"""What data call whether a message is to be trained on."""

_REFUSED = {
    "tool_calls": ("which no template writes", "write the call as text in content"),
    "function_call": ("which no template writes", "write the call as text in content"),
    "train_detail": ("which says what is trained of a text", "set train for the whole message, or split it"),
    "training_detail": ("which says what is trained of a text", "set train for the whole message, or split it"),
    "loss_scale": ("which weighs a loss", "set loss to true or false"),
    **dict.fromkeys(
        ("image", "images", "image_url", "video", "videos", "audio", "audios"),
        ("and xtune trains on text only", "leave such rows out"),
    ),
}
"""Keys of a message that would change what is trained, and what to do in their place."""

NOTHING: tuple[Any, ...] = (None, "", [], {})
"""What tables and APIs fill keys with that a message does not have."""


def from_messages(messages: list[Any], column: str, system: str = "") -> Conversation:
    """The Conversation of a list of messages: {role, content} or {from, value}, each with `loss` (or `weight`, or
    `train`) or not.

    Messages of one speaker in a row are joined with a blank line (tools' results stay apart). An answer before the
    first question, and what follows the last answer, are left out: there is nothing to train on. `system` is the
    system message of a list that has none. An answer without text is context, never trained on. The reasoning of
    an answer (`reasoning_content`, `reasoning` or `thinking`) stands before it, between <think> and </think>. Other
    keys with something in them are named in the conversation's `unread`.

    Raises DataError that names the message, from 1, for an unknown role, a content that is missing or not text, a tool
    call that is not text, a system message after the first turn, joined answers of which only some are to be
    trained on, and one that is joined to the answer before and has reasoning.
    """
    turns: list[Turn] = []
    unread: set[str] = set()
    for number, message in enumerate(messages, 1):
        where = f"{column}, message {number}"
        turn = _turn(message, where, unread)
        last = turns[-1] if turns else None
        if last and last.role == turn.role and turn.role != "tool":
            turns[-1] = _joined(last, turn, where)
        elif turn.role == "system" and turns:
            raise DataError(
                f"column `{where}`: a system message should come first: got one after {len(turns)} turns",
                "move it to the start",
            )
        elif turn.role == "user" or turn.role == "system" or _asked(turns):
            turns.append(turn)
    while turns and turns[-1].role != "assistant":
        turns.pop()
    if all(blank(turn.text) for turn in turns if turn.role == "assistant"):
        return EMPTY
    if system and turns[0].role != "system":
        turns.insert(0, Turn("system", system))
    return Conversation(tuple(turns), unread=frozenset(unread))


def _asked(turns: list[Turn]) -> bool:
    return any(turn.role == "user" for turn in turns)


def _turn(message: Any, where: str, unread: set[str]) -> Turn:
    if type(message) is not dict:
        raise DataError(f"column `{where}` should be an object: got {describe(message)}", "give role and content")
    speaker, key = ("from", "value") if message.get("from") is not None else ("role", "content")
    name = message.get(speaker)
    role = ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        advice = suggestion(name[:40], ROLES) if isinstance(name, str) else "give it role (or from), such as user"
        raise DataError(f"column `{where}` has no known role: got {describe(name)}", advice)
    learn = None
    reasoning: dict[str, Any] = {}
    if len(message) > 2:
        for other, value in message.items():
            if other in (speaker, key) or value in NOTHING:
                continue
            if refused := _REFUSED.get(other):
                raise DataError(f"column `{where}` has {other}, {refused[0]}", refused[1])
            if other in REASONING and role == "assistant":
                reasoning[other] = value
            elif other not in LEARN:
                unread.add(other)
        learn = flag(message, where)
    text = text_of(message, key, where)
    if role == "assistant":
        if blank(text):
            learn = False
        elif reasoning:
            text = with_reasoning(reasoning, text, where)
    return Turn(role, text, learn)


def flag(message: dict[str, Any], where: str) -> bool | None:
    """Whether the data say that a message is to be trained on; None where they say nothing. Raises DataError."""
    said = [value for name in LEARN if (value := message.get(name)) is not None]
    for value in said:
        if not isinstance(value, (bool, int, float)) or value not in _FLAGS:
            should = "loss, weight and train should be true, false, 0 or 1"
            raise DataError(f"column `{where}`: {should}: got {describe(value)}", "write true or false")
    flags = {_FLAGS[value] for value in said} or {None}
    if len(flags) > 1:
        raise DataError(f"column `{where}`: loss, weight and train differ: got {describe(said)}", "keep one of them")
    return flags.pop()


def _joined(first: Turn, second: Turn, where: str) -> Turn:
    if blank(first.text) or blank(second.text):
        return second if blank(first.text) else first
    if first.learn != second.learn:
        raise DataError(
            f"column `{where}`: loss differs from that of the message before, of the same role: got `{second.learn}`",
            "make them alike, or one message",
        )
    if second.role == "assistant" and "</think>" in second.text:
        raise DataError(
            f"column `{where}` has reasoning in the middle of an answer, which goes on from the message before: "
            f"got {describe(second.text)}",
            "make them one message",
        )
    return Turn(first.role, f"{first.text}\n\n{second.text}", first.learn)
