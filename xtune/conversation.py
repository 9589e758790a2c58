"""The types that are trained: row -> Conversation(Turn...) or Preference -> [Span] -> Example(Tokens...).

A mapper makes a Conversation or a Preference from a row; a template renders conversations to Spans; encoding makes the
ids and loss masks of an Example, which data packs whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

IGNORE = -100
"""The label of a position that is not trained on; the index that torch's cross entropy ignores."""

ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Turn:
    """One message. `role` is one of ROLES.

    `learn` None leaves it to the run (by default every assistant turn is trained on); True and False, which come from
    the data, decide for this turn.
    """

    role: str
    text: str
    learn: bool | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """The turns of one row, in order. A system turn, where there is one, comes first.

    Plain text (continued pre-training) is a single assistant turn: Conversation((Turn("assistant", text),)), with
    `plain` set, which is rendered without any chat template. `unread` names what the row holds and nothing reads.
    """

    turns: tuple[Turn, ...]
    plain: bool = False
    unread: frozenset[str] = field(default=frozenset(), repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "turns", tuple(self.turns))

    @property
    def parts(self) -> tuple[Conversation, ...]:
        """The conversations that are encoded of a row: itself."""
        return (self,)


@dataclass(frozen=True, slots=True)
class Preference:
    """Two conversations that differ in how they end; people (or a judge) prefer `chosen`."""

    chosen: Conversation
    rejected: Conversation

    @property
    def parts(self) -> tuple[Conversation, ...]:
        """The conversations that are encoded of a row: the chosen one and the rejected one."""
        return (self.chosen, self.rejected)


Row = Conversation | Preference
"""What a mapper makes of a row."""


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


class Tokens(NamedTuple):
    """One token sequence with its loss mask: `ids` and `labels` (T,) int32; a label is the id itself or IGNORE."""

    ids: np.ndarray
    labels: np.ndarray


NO_NUMBERS: Mapping[str, float] = {}  # no mappingproxy: examples are sent between processes


class Example(NamedTuple):
    """What is trained of one row: token sequences that stay together, and what else is known of it, as numbers by name.

    A Conversation gives one sequence, a Preference two: the chosen and the rejected one.
    """

    sequences: tuple[Tokens, ...]
    numbers: Mapping[str, float] = NO_NUMBERS


@dataclass(frozen=True, slots=True)
class Sample:
    """One token sequence as encode() gives it: `ids` and `labels` as lists of equal length."""

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)
