"""The words of the data path: row -> Conversation(Turn...) -> [Span] -> Sample.

A mapper makes a Conversation from a row; a template renders it to Spans; a tokenizer encodes the spans to a Sample.
"""

from __future__ import annotations

from dataclasses import dataclass, field

IGNORE = -100
"""The label of a position that is not learnt; the index that torch's cross entropy ignores."""

ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Turn:
    """One message. `role` is one of ROLES.

    `learn` None leaves it to the run (by default every assistant turn is learnt); True and False, which come from the
    data, decide for this turn.
    """

    role: str
    text: str
    learn: bool | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """The turns of one row, in order. A system turn, where there is one, comes first.

    Plain text (continued pre-training) is a single assistant turn: Conversation((Turn("assistant", text),)), with
    `plain` set, which is rendered without any chat template.
    """

    turns: tuple[Turn, ...]
    plain: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "turns", tuple(self.turns))


@dataclass(frozen=True, slots=True)
class Preference:
    """Two conversations that differ in how they end; people (or a judge) prefer `chosen`."""

    chosen: Conversation
    rejected: Conversation


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a rendered conversation.

    `learn` says whether its tokens are trained on. `control` is True for a control token that the template asked for:
    it becomes exactly one id, looked up by name; text that is not control never becomes a control token, whatever it
    spells. `cut` is True where the tokenizer starts afresh: text before and after a cut is never encoded as one piece.
    """

    text: str
    learn: bool
    control: bool = False
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """Token ids and labels of equal length; a label is the id itself or IGNORE."""

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)
