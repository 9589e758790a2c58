"""The mapper of preference pairs: two answers to the same prompt, of which one is better."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from xtune.conversation import Conversation, Preference
from xtune.errors import DataError
from xtune.mappers.columns import EMPTY, Row, missing, optional_text
from xtune.mappers.messages import from_messages


def preference(
    row: Row,
    *,
    chosen: str = "chosen",
    rejected: str = "rejected",
    prompt: str = "prompt",
    question: str = "question",
    conversations: str = "conversations",
    system: str = "system",
    take: str = "both",
) -> Preference | Conversation:
    """The chosen and the rejected conversation of a row. What both begin with is context, only the rest is trained.

    Objectives such as dpo train on pairs. `take="chosen"` gives the chosen conversation alone, an ordinary one to train
    on, with every answer in it.

    An answer is text, a message, or a list of messages. A list that does not begin with an answer is the whole
    conversation (orpo-dpo-mix-40k, ultrafeedback). Else the prompt stands before it: the messages of `conversations`,
    or messages or text in `prompt`, or in `question` with a `system` message (intel_orca_dpo). Where one side is
    blank, or both are the same, there is nothing to prefer: both are empty.

    >>> pair = preference({"prompt": "Capital of Peru?", "chosen": "Lima.", "rejected": "Quito."})
    >>> pair.chosen.turns
    (Turn(role='user', text='Capital of Peru?', learn=None), Turn(role='assistant', text='Lima.', learn=None))
    >>> pair.rejected.turns[1:]
    (Turn(role='assistant', text='Quito.', learn=None),)
    >>> preference({"prompt": "Capital of Peru?", "chosen": "Lima."}, take="chosen") == pair.chosen
    True
    """
    before = _messages(row.get(conversations) or row.get(prompt) or row.get(question), "user")
    opening = optional_text(row, system)
    if take == "chosen":
        return _side(row, chosen, before, opening)
    if take != "both":
        raise DataError(f"mapper preference, option take, should be both or chosen: got `{take}`", "write one of them")
    good, bad = (_side(row, column, before, opening) for column in (chosen, rejected))
    if not good.turns or not bad.turns or good == bad:
        return Preference(EMPTY, EMPTY)
    shared = next(
        (index for index, (one, other) in enumerate(zip(good.turns, bad.turns, strict=False)) if one != other),
        min(len(good.turns), len(bad.turns)),
    )
    return Preference(_context(good, shared), _context(bad, shared))


def _side(row: Row, column: str, before: list[Any], system: str) -> Conversation:
    if column not in row:
        raise missing(row, column)
    answer = _messages(row[column], "assistant")
    alone = from_messages(answer, column, system)
    return alone if alone.turns else from_messages(before + answer, column, system)


def _messages(value: Any, role: str) -> list[Any]:
    """A list of messages as it is; a message, or text said by `role`, as a list of one."""
    if value is None:
        return []
    if isinstance(value, list):
        return value
    return [value if isinstance(value, dict) else {"role": role, "content": value}]


def _context(conversation: Conversation, shared: int) -> Conversation:
    """The conversation with the answers among its first `shared` turns not trained on."""
    turns = [
        replace(turn, learn=False) if index < shared and turn.role == "assistant" else turn
        for index, turn in enumerate(conversation.turns)
    ]
    return replace(conversation, turns=tuple(turns))
