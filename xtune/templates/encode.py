"""Conversation -> ids and labels, exactly as the vendor's own code encodes its prompts.

What a conversation becomes is planned in `plan`; here it is judged: whole, made to fit, or dropped and why.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from xtune.conversation import IGNORE, Conversation, Sample
from xtune.errors import DataError
from xtune.templates.edges import Edges
from xtune.templates.plain_text import Control, PlainText, plain_text, token_id
from xtune.templates.plan import Plan, Planned
from xtune.templates.render import Learn, Piece, find_template, form_of, pieces
from xtune.templates.skeleton import Skeletons
from xtune.templates.template import ChatTemplate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TooLong = Literal["drop_turns", "truncate", "error"]

SHORTENED = "shortened"
TRUNCATED = "truncated"
CUT = "cut into pieces"
TOO_LONG = "too long"
NOTHING_TO_LEARN = "nothing to learn"
EMPTY = "empty"


class Encoded(NamedTuple):
    """One conversation, encoded. `ids` and `labels` are int32 of equal length.

    `outcome` is "" for a whole one, "shortened" or "truncated" for one that was made to fit; for any other it is the
    reason why the row is dropped, and ids are empty.
    """

    ids: np.ndarray
    labels: np.ndarray
    outcome: str


def encode(
    conversation: Conversation,
    template: ChatTemplate | str,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None = None,
    generation_prompt: bool = False,
    *,
    learn: Learn = "assistant",
    too_long: TooLong = "drop_turns",
) -> Sample:
    """Ids and labels of one conversation; see Encoder. With `generation_prompt`, the ids that a chat continues from.

    A conversation that is too long and cannot be made to fit gives an empty Sample; plain text, its first piece.
    """
    encoder = Encoder(find_template(template), tokenizer, max_length=max_length, learn=learn, too_long=too_long)
    ids, labels, _ = encoder.encode_whole([pieces(conversation, encoder.form, learn, generation_prompt)])[0]
    if max_length is not None and len(ids) > max_length and not generation_prompt:
        ids, labels, _ = encoder.encode_batch([conversation])[0]
        ids, labels = ids[:max_length], labels[:max_length]
    return Sample(ids.tolist(), labels.tolist())


class Encoder:
    """Encodes conversations for training with one template and tokenizer.

    `max_length` is in tokens; None: no limit. `too_long` says what becomes of a longer conversation: "drop_turns"
    drops whole turns from the end, so that the last answer kept is complete, "truncate" cuts it off, "error" raises
    DataError. Plain text has no turns to drop: it comes back whole, with the outcome "cut into pieces", for the caller
    to cut every `max_length` tokens. `learn` is as in render().
    """

    def __init__(
        self,
        template: ChatTemplate,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_length: int | None = None,
        learn: Learn = "assistant",
        too_long: TooLong = "drop_turns",
    ) -> None:
        self.template = template
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.learn: Learn = learn
        self.too_long = too_long
        self.plain = plain_text(tokenizer, {*template.control, *template.markup})
        spelled = tuple(name for name in template.markup if token_id(tokenizer, name) is not None)
        self.form = form_of(replace(template, markup=spelled))
        self.edges = Edges(self.plain)
        self.controls = _Controls(self.plain)
        self.skeletons = Skeletons(self.form, learn, self.edges, self.controls)
        for name in ("begin", "system", "user", "assistant", "answer", "end"):
            for part in self.form.parts[name]:
                if part.ready[0][2]:
                    self.controls[part.text]  # a tokenizer without one is told before any data is read

    def encode_batch(self, conversations: Sequence[Conversation]) -> list[Encoded]:
        """One Encoded per conversation, in order."""
        plan = Plan(self.edges, self.controls)
        for conversation in conversations:
            self.skeletons.add(plan, conversation)
        whole = zip(conversations, plan.encode(), strict=True)
        return [self._judge(conversation, *planned) for conversation, planned in whole]

    def encode_whole(self, rendered: Iterable[list[Piece]]) -> list[Planned]:
        """Ids and labels of rendered conversations, whatever their length."""
        plan = Plan(self.edges, self.controls)
        for conversation in rendered:
            plan.add(conversation)
        return plan.encode()

    def _judge(self, conversation: Conversation, ids: np.ndarray, labels: np.ndarray, learns: bool) -> Encoded:
        """The outcome of a conversation: whole, made to fit, or dropped."""
        if not conversation.turns:
            return _dropped(EMPTY)
        if not learns:
            return _dropped(NOTHING_TO_LEARN)
        if self.max_length is None or len(ids) <= self.max_length:
            return Encoded(ids, labels, "")
        if self.too_long == "error":
            raise DataError(
                f"a conversation has more tokens than max_length: got {len(ids)}, allowed are {self.max_length}; "
                f"raise max_length, or set too_long to drop_turns or truncate"
            )
        if self.too_long == "truncate":
            ids, labels = ids[: self.max_length], labels[: self.max_length]
            return Encoded(ids, labels, TRUNCATED) if (labels[1:] != IGNORE).any() else _dropped(TOO_LONG)
        if conversation.plain:
            return Encoded(ids, labels, CUT)
        return self._shortened(conversation, self.max_length)

    def _shortened(self, conversation: Conversation, max_length: int) -> Encoded:
        """The longest beginning of a conversation that ends with a whole answer and fits."""
        turns = conversation.turns
        ends = [index + 1 for index, turn in enumerate(turns[:-1]) if turn.role == "assistant"]
        best = _dropped(TOO_LONG)
        while ends:
            # length grows with the number of turns, so the range is halved; not where reasoning is dropped from answers
            # that lie back
            middle = len(ends) // 2 if self.template.thinking is None else len(ends) - 1
            shorter = Conversation(turns[: ends[middle]], conversation.plain)
            ids, labels, learns = self.encode_whole([pieces(shorter, self.form, self.learn)])[0]
            if len(ids) > max_length:
                ends = ends[:middle]
            else:
                best = Encoded(ids, labels, SHORTENED) if learns else best
                ends = ends[middle + 1 :]
        return best


def _dropped(reason: str) -> Encoded:
    nothing = np.empty(0, dtype=np.int32)
    return Encoded(nothing, nothing, reason)


class _Controls(dict[str, Control | None]):
    """Control tokens by name, each looked up when it is first written."""

    def __init__(self, plain: PlainText) -> None:
        super().__init__()
        self.plain = plain

    def __missing__(self, name: str) -> Control | None:
        self[name] = self.plain.control(name)
        return self[name]
