"""What a chat template is: plain values. `render` reads them; nothing else knows how a prompt is put together."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from xtune.errors import ConfigError, suggestion

BOS = "{bos}"
"""In a template's strings: the tokenizer's begin token, nothing where it has none."""
EOS = "{eos}"
"""In a template's strings: the tokenizer's end token."""

SLOT = re.compile(r"\{(text|after_thinking|thinking|system|round)(?:\|(\w+))?\}")
"""What a conversation fills in, with a filter: `{text}`, `{text|trim}`."""


def _json(text: str) -> str:
    from json import dumps

    return dumps(text, ensure_ascii=False)


FILTERS: dict[str, tuple[Callable[[str], str], str]] = {
    "trim": (str.strip, " | trim"),
    "trim_start": (str.lstrip, ".lstrip()"),
    "trim_end": (str.rstrip, ".rstrip()"),
    "trim_start_lines": (lambda text: text.lstrip("\n"), r".lstrip('\n')"),
    "json": (_json, " | tojson"),
}
"""Filters of slots, each with its Jinja form."""


@dataclass(frozen=True, kw_only=True)
class ChatTemplate:
    """How turns become text.

    A conversation is rendered as `begin`, then every turn by its role, then `close`. `{text}` stands for the turn's
    text, `{round}` for the number of the user's turn, from 1; a slot may carry one of FILTERS, as in `{text|trim}`.
    An answer is `assistant`, `answer`, `end`, `tail`; `answer` and `end` are what is trained on, and a chat prompt
    stops after `assistant`. `between` stands before every user turn that follows an answer.

    Strings listed in `control` become single control tokens where the template itself writes them, and only there:
    a turn's text that spells one stays text. `{bos}` and `{eos}` are control tokens of whatever tokenizer is used.

    `cut` says how much text the vendor's code gives the tokenizer at once: "control" splits only at control tokens,
    "turn" also around each turn's text, which matters to tokenizers that put a space in front. "answer" also splits
    before each answer: without that the first letters of one may become a token together with a prompt that ends in
    `:`, which the model is never asked to write. After a `{bos}` the text always starts afresh, as where the tokenizer
    itself puts that token in front.
    """

    user: str
    assistant: str = ""
    answer: str = "{text}"
    end: str = EOS
    end_in_history: bool = True
    """Whether earlier answers carry `end` too. Where they do not, a user turn that begins with `end` is what
    ends them, and that token is trained on."""
    tail: str = ""
    begin: str = ""
    close: str = ""
    """Written after a whole conversation, not in a chat prompt."""
    between: str = ""
    system: str = "{text}\n"
    system_in_user: str | None = None
    """Where the vendor puts the system message inside the first user turn: that turn, with {system} and {text}."""
    tool: str | None = None
    """A tool's result; None: the template has no place for one, and such rows are refused."""
    tools_begin: str = ""
    tools_end: str = ""
    """Written around tool results that follow each other."""
    thinking: str | None = None
    """An answer with its reasoning, which stands before `</think>` in the turn's text: {thinking} and {text}. It is
    written after the last question; earlier answers are written as `answer`, without their reasoning."""
    thinking_prompt: str = ""
    """What a chat prompt has after `assistant`, and `thinking` is preceded by; not trained on."""
    default_system: str | None = None
    """The system message of a conversation that has none; None: nothing is written then."""
    control: tuple[str, ...] = ()
    markup: tuple[str, ...] = ()
    """Control tokens that an answer's own text may spell, such as those around a tool call."""
    stop: tuple[str, ...] = ()
    """Strings other than `end` that end a generated answer."""
    cut: Literal["control", "answer", "turn"] = "control"

    def __post_init__(self) -> None:
        for name in ("user", "answer", "system_in_user", "thinking", "tool"):
            value = getattr(self, name)
            if value is not None and not any(slot[1] in ("text", "after_thinking") for slot in SLOT.finditer(value)):
                raise ConfigError(f"chat template: {name} has no {{text}}: got `{value}`", "say where the text goes")
        for name, value in vars(self).items():
            for slot in SLOT.finditer(value) if isinstance(value, str) else ():
                if slot[2] and slot[2] not in FILTERS:
                    raise ConfigError(
                        f"chat template: {name} has an unknown filter: got `{slot[2]}`", suggestion(slot[2], FILTERS)
                    )
