"""Mappers of rows that hold a list of messages, or a dialogue in one text."""

from __future__ import annotations

import re

from xtune.conversation import Conversation, Turn
from xtune.errors import DataError
from xtune.mappers.columns import EMPTY, Row, blank, describe, items, optional_text, text
from xtune.mappers.messages import from_messages


def openai(row: Row, *, messages: str = "messages", tools: str = "tools") -> Conversation:
    """Messages as in OpenAI's API: role (system, developer, user, assistant, tool, function) and content.

    `loss` or `weight` of a message decides whether it is learnt. See `messages.from_messages` for what is joined and
    left out. Tool definitions and calls that are not text are refused: no template writes them.

    >>> openai({"messages": [{"role": "system", "content": "Be brief."},
    ...                      {"role": "user", "content": "Capital of Peru?"},
    ...                      {"role": "assistant", "content": "Lima."}]})
    Conversation(turns=(Turn(role='system', text='Be brief.', learn=None),
                        Turn(role='user', text='Capital of Peru?', learn=None),
                        Turn(role='assistant', text='Lima.', learn=None)), plain=False)
    """
    _refuse_tools(row, tools)
    return from_messages(items(row, messages), messages)


def sharegpt(
    row: Row, *, conversations: str = "conversations", system: str = "system", tools: str = "tools"
) -> Conversation:
    """Conversations as ShareGPT has them: from (human, gpt, system, observation, function_call) and value.

    >>> sharegpt({"conversations": [{"from": "human", "value": "Say hi."}, {"from": "gpt", "value": "Hi!"}]}).turns
    (Turn(role='user', text='Say hi.', learn=None), Turn(role='assistant', text='Hi!', learn=None))
    """
    _refuse_tools(row, tools)
    return from_messages(items(row, conversations), conversations, optional_text(row, system))


def _refuse_tools(row: Row, column: str) -> None:
    if row.get(column) not in (None, "", "[]", []):
        raise DataError(
            f"column {column!r} has tool definitions, which no template writes: got {describe(row[column])}; "
            "write them into the system message and empty the column"
        )


def conversation(row: Row, *, column: str = "conversation") -> Conversation:
    """XTuner's own format: a list of {system, input, output, output_with_loss}.

    A single turn with an empty input is plain text, for continued pre-training.

    >>> conversation({"conversation": [{"system": "Be brief.", "input": "Capital of Peru?", "output": "Lima."},
    ...                                {"input": "Of Chile?", "output": "Santiago.", "output_with_loss": False}]}).turns
    (Turn(role='system', text='Be brief.', learn=None), Turn(role='user', text='Capital of Peru?', learn=None),
     Turn(role='assistant', text='Lima.', learn=None), Turn(role='user', text='Of Chile?', learn=None),
     Turn(role='assistant', text='Santiago.', learn=False))
    """
    exchanges = items(row, column)
    messages = []
    for number, exchange in enumerate(exchanges, 1):
        if not isinstance(exchange, dict):
            raise DataError(
                f"column '{column}, turn {number}' should be an object: got {describe(exchange)}; give input and output"
            )
        if exchange.get("system"):
            messages.append({"role": "system", "content": exchange["system"]})
        messages.append({"role": "user", "content": exchange.get("input")})
        answer = {"role": "assistant", "content": exchange.get("output"), "loss": exchange.get("output_with_loss")}
        messages.append(answer)
    if len(exchanges) == 1 and not exchanges[0].get("input") and not exchanges[0].get("system"):
        return pretrain({column: exchanges[0].get("output")}, column=column)
    return from_messages(messages, column)


_SPEAKER = re.compile(r"### (Human|Assistant):")


def oasst1(row: Row, *, column: str = "text") -> Conversation:
    """Dialogues in one text with ### Human: and ### Assistant: (timdettmers/openassistant-guanaco).

    What stands before the first of them is the system message. A question that nothing answers is left out at the end.

    >>> oasst1({"text": "### Human: Hi!### Assistant: Hello.### Human: Bye."}).turns
    (Turn(role='user', text='Hi!', learn=None), Turn(role='assistant', text='Hello.', learn=None))
    """
    whole = text(row, column)
    before, *parts = _SPEAKER.split(whole)
    if not parts and not blank(before):
        raise DataError(
            f"column {column!r} should have '### Human:' and '### Assistant:': got {describe(whole)}; "
            "for plain text use --mapper pretrain"
        )
    pairs = zip(parts[::2], parts[1::2], strict=True)
    roles = {"Human": "user", "Assistant": "assistant"}
    messages = [{"role": roles[speaker], "content": said.strip()} for speaker, said in pairs]
    return from_messages(messages, column, before.strip())


def pretrain(row: Row, *, column: str = "text") -> Conversation:
    """Plain text for continued pre-training: no template, no roles. White space around it is dropped.

    >>> pretrain({"text": " Once upon a time. "})
    Conversation(turns=(Turn(role='assistant', text='Once upon a time.', learn=None),), plain=True)
    """
    written = text(row, column).strip()
    return Conversation((Turn("assistant", written),), plain=True) if written else EMPTY
