"""Mappers of rows that hold a list of messages, or a dialogue in one text."""

from __future__ import annotations

import re
from typing import Any

from xtune.conversation import Conversation, Turn
from xtune.errors import DataError
from xtune.mappers.columns import EMPTY, Row, blank, describe, items, optional_text, text
from xtune.mappers.message_text import text_of
from xtune.mappers.messages import LEARN, NOTHING, flag, from_messages


def openai(
    row: Row,
    *,
    messages: str = "messages",
    system: str = "system",
    tools: str = "tools",
    functions: str = "functions",
) -> Conversation:
    """Messages as in OpenAI's API: role (system, developer, user, assistant, tool, function) and content.

    `loss`, `weight` or `train` of a message decides whether it is trained on. `reasoning_content`, `reasoning` or
    `thinking` of an answer stands before it, between <think> and </think>. `system` is a column with the system
    message of messages that have none, as in Anthropic's API. See `messages.from_messages` for what is joined and left
    out. Tool definitions (`tools`, and the older `functions`) and calls that are not text are refused: no template
    writes them.

    >>> openai({"messages": [{"role": "system", "content": "Be brief."},
    ...                      {"role": "user", "content": "Capital of Peru?"},
    ...                      {"role": "assistant", "content": "Lima."}]})
    Conversation(turns=(Turn(role='system', text='Be brief.', learn=None),
                        Turn(role='user', text='Capital of Peru?', learn=None),
                        Turn(role='assistant', text='Lima.', learn=None)), plain=False)
    """
    _refuse_tools(row, tools)
    _refuse_tools(row, functions)
    return from_messages(items(row, messages), messages, optional_text(row, system))


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
            f"column `{column}` has tool definitions, which no template writes: got {describe(row[column])}",
            "write them into the system message and empty the column",
        )


def conversation(row: Row, *, column: str = "conversation") -> Conversation:
    """XTuner's own format: a list of {system, input, output, output_with_loss}.

    A single turn with an empty input is plain text, for continued pre-training. A list of {system, human, assistant}
    is read as well, and a list of messages as `openai` reads it (lmsys-chat-1m, WildChat).

    >>> conversation({"conversation": [{"system": "Be brief.", "input": "Capital of Peru?", "output": "Lima."},
    ...                                {"input": "Of Chile?", "output": "Santiago.", "output_with_loss": False}]}).turns
    (Turn(role='system', text='Be brief.', learn=None), Turn(role='user', text='Capital of Peru?', learn=None),
     Turn(role='assistant', text='Lima.', learn=None), Turn(role='user', text='Of Chile?', learn=None),
     Turn(role='assistant', text='Santiago.', learn=False))
    """
    exchanges = items(row, column)
    first = exchanges[0] if exchanges else None
    if isinstance(first, dict) and first.keys() & {"role", "from"} and not first.keys() & {"input", "output"}:
        return openai(row, messages=column)
    messages: list[dict[str, Any]] = []
    for number, exchange in enumerate(exchanges, 1):
        messages += _exchange(exchange, f"{column}, turn {number}")
    if len(messages) == 2 and "input" in exchanges[0] and not messages[0]["content"]:
        written = messages[1]["content"].strip()
        learn = flag(messages[1], f"{column}, turn 1")
        unread = frozenset(messages[1]) - {"role", "content", *LEARN}
        return Conversation((Turn("assistant", written, learn),), plain=True, unread=unread) if written else EMPTY
    return from_messages(messages, column)


_EXCHANGE = {"system", "input", "output", "human", "assistant", "instruction", "role", "from"}


def _exchange(exchange: Any, where: str) -> list[dict[str, Any]]:
    """The messages of one {system, input, output, output_with_loss}, or {system, human, assistant}."""
    if not isinstance(exchange, dict):
        raise DataError(f"column `{where}` should be an object: got {describe(exchange)}", "give input and output")
    asked, answered = ("human", "assistant") if "human" in exchange and "input" not in exchange else ("input", "output")
    question, answer = text_of(exchange, asked, where), text_of(exchange, answered, where)
    if exchange.get("instruction"):
        raise DataError(
            f"column `{where}` has an instruction, which would not be trained on: got "
            f"{describe(exchange['instruction'])}",
            f"write it into {asked}",
        )
    system = [{"role": "system", "content": exchange["system"]}] if exchange.get("system") else []
    others = {name: value for name, value in exchange.items() if name not in _EXCHANGE and value not in NOTHING}
    return [
        *system,
        {"role": "user", "content": question},
        {**others, "role": "assistant", "content": answer},
    ]


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
            f"column `{column}` should have '### Human:' and '### Assistant:': got {describe(whole)}",
            "for plain text use --mapper pretrain",
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
