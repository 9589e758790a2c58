"""What a chat template is: plain values. `render` reads them; nothing else knows how a prompt is put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xtune.errors import ConfigError

BOS = "{bos}"
"""In a template's strings: the tokenizer's begin token, nothing where it has none."""
EOS = "{eos}"
"""In a template's strings: the tokenizer's end token."""


@dataclass(frozen=True, kw_only=True)
class ChatTemplate:
    """How turns become text.

    A conversation is rendered as `begin`, then every turn by its role. `{text}` stands for the turn's text, `{round}`
    for the number of the user's turn, from 1. An answer is `assistant`, `answer`, `end`, `tail`; `answer` and `end`
    are what is learnt, and a chat prompt stops after `assistant`. `between` stands before every user turn that
    follows an answer. Some vendors write no `end` after the answers that lie back: `end_in_history` False.

    Strings listed in `control` become single control tokens where the template itself writes them, and only there:
    a turn's text that spells one stays text. `{bos}` and `{eos}` are control tokens of whatever tokenizer is used.

    `cut` says how much text the vendor's code gives the tokenizer at once, which matters to tokenizers that put a
    space in front: "control" cuts only at control tokens, "turn" also around each turn's text. After a `{bos}` the
    text always starts afresh, as where the tokenizer itself puts that token in front.
    """

    user: str
    assistant: str = ""
    answer: str = "{text}"
    end: str = EOS
    end_in_history: bool = True
    tail: str = ""
    begin: str = ""
    between: str = ""
    system: str = "{text}\n"
    system_in_user: str | None = None
    """Where the vendor puts the system message inside the first user turn: that turn, with {system} and {text}."""
    tool: str | None = None
    """A tool's result; None: the template has no place for one, and such rows are refused."""
    default_system: str | None = None
    """The system message of a conversation that has none; None: nothing is written then."""
    control: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    """Strings other than `end` that end a generated answer."""
    trim: bool = False
    """Whether white space around each turn's text is dropped, as some vendors' templates do."""
    cut: Literal["control", "turn"] = "control"

    def __post_init__(self) -> None:
        for name in ("user", "answer"):
            if "{text}" not in getattr(self, name):
                raise ConfigError(
                    f"chat template: {name} has no {{text}}: got {getattr(self, name)!r}; say where the text goes"
                )
