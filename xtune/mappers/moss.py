"""The mapper of MOSS: dialogues whose inner thoughts and commands are part of the text."""

from __future__ import annotations

import re

from xtune.conversation import Conversation, Turn
from xtune.mappers.columns import EMPTY, Row, as_text, blank, object_in, text

_MOSS_HUMAN = re.compile(r"\s*<\|Human\|>:\s?|<eoh>\s*")
_MOSS_PARTS = ("Human", "Inner Thoughts", "Commands", "Tool Responses", "MOSS")


def moss_sft(
    row: Row, *, meta_instruction: str = "meta_instruction", chat: str = "chat", bot_name: str = "MOSS"
) -> Conversation:
    """Dialogues of moss-003-sft, for the template moss_sft; MOSS is called `bot_name`.

    What the model writes keeps its marks (<|Inner Thoughts|>, <|Commands|>, <|MOSS|> and their ends): it learns them.
    The results of tools are turns of role tool.

    >>> moss_sft({"meta_instruction": "You are MOSS.", "chat": {"turn_1": {
    ...     "Human": "<|Human|>: Hi!<eoh>\\n", "Inner Thoughts": "<|Inner Thoughts|>: None<eot>\\n",
    ...     "Commands": "<|Commands|>: None<eoc>\\n", "Tool Responses": "<|Results|>: None<eor>\\n",
    ...     "MOSS": "<|MOSS|>: Hello!<eom>\\n"}}}, bot_name="Nova")
    Conversation(turns=(Turn(role='system', text='You are Nova.', learn=None),
        Turn(role='user', text='Hi!', learn=None),
        Turn(role='assistant', text='<|Inner Thoughts|>: None<eot>\\n<|Commands|>: None<eoc>\\n', learn=None),
        Turn(role='tool', text='<|Results|>: None<eor>\\n', learn=None),
        Turn(role='assistant', text='<|Nova|>: Hello!<eom>\\n', learn=None)), plain=False)
    """
    system = text(row, meta_instruction).replace("MOSS", bot_name)
    turns = [] if blank(system) else [Turn("system", system.strip())]
    rounds = object_in(row, chat, "turn_1, turn_2, ...")
    for name in sorted((name for name in rounds if rounds[name] is not None), key=_number):
        where = f"{chat}.{name}"
        said = object_in(rounds, name, "Human, MOSS, ...", where)
        human, thoughts, commands, results, answer = (as_text(said.get(part), where) for part in _MOSS_PARTS)
        if blank(human) or blank(answer):
            break
        turns.append(Turn("user", _MOSS_HUMAN.sub("", human)))
        if results:
            turns += [Turn("assistant", thoughts + commands), Turn("tool", results)]
        turns.append(Turn("assistant", answer.replace("<|MOSS|>", f"<|{bot_name}|>")))
    return Conversation(tuple(turns)) if turns and turns[-1].role == "assistant" else EMPTY


def _number(name: str) -> int:
    return int(re.sub(r"[^0-9]", "", name)[:9] or 0)
