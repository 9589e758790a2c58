"""Conversation -> ids and labels, exactly as the vendor's own code encodes its prompts.

Control tokens are put in as ids; the text between two of them is encoded as a whole, because splitting it gives other
ids. What is learnt is marked by position: a token is learnt where all of its text is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from xtune.conversation import IGNORE, Conversation, Sample
from xtune.errors import DataError
from xtune.templates.plain_text import plain_text
from xtune.templates.render import Learn, Piece, find_template, form_of, pieces
from xtune.templates.template import ChatTemplate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TooLong = Literal["drop_turns", "truncate", "error"]

SHORTENED = "shortened"
TRUNCATED = "truncated"
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

    A conversation that is too long and cannot be made to fit gives an empty Sample.
    """
    encoder = Encoder(find_template(template), tokenizer, max_length=max_length, learn=learn, too_long=too_long)
    ids, labels = encoder.encode_whole([pieces(conversation, encoder.form, learn, generation_prompt)])[0]
    if max_length is not None and len(ids) > max_length and not generation_prompt:
        ids, labels, _ = encoder.encode_batch([conversation])[0]
    return Sample(ids.tolist(), labels.tolist())


class Segment(NamedTuple):
    """Text between two control tokens, encoded as a whole. `runs` are (characters, learn), in order."""

    text: str
    runs: tuple[tuple[int, bool], ...]


class Token(NamedTuple):
    """A control token in its place."""

    id: int
    learn: bool


class Encoder:
    """Encodes conversations for training with one template and tokenizer.

    `max_length` is in tokens; None: no limit. `too_long` says what becomes of a longer conversation: "drop_turns"
    drops whole turns from the end, so that the last answer kept is complete, "truncate" cuts it off, "error" raises
    DataError. `learn` is as in render().
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
        self.form = form_of(template)
        self.template = template
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.learn: Learn = learn
        self.too_long = too_long
        self.plain = plain_text(tokenizer, template.control + template.markup)

    def encode_batch(self, conversations: Sequence[Conversation]) -> list[Encoded]:
        """One Encoded per conversation, in order."""
        whole = self.encode_whole([pieces(conversation, self.form, self.learn) for conversation in conversations])
        return [
            self._judge(conversation, ids, labels)
            for conversation, (ids, labels) in zip(conversations, whole, strict=True)
        ]

    def encode_whole(self, rendered: Sequence[list[Piece]]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Ids and labels of rendered conversations, whatever their length."""
        parts = [self._segments(conversation) for conversation in rendered]
        texts = [part.text for conversation in parts for part in conversation if isinstance(part, Segment)]
        encoded = iter(self.plain.encode(texts))
        results = []
        for conversation in parts:
            ids: list[int] = []
            learnt: list[bool] = []
            for part in conversation:
                if isinstance(part, Token):
                    ids.append(part.id)
                    learnt.append(part.learn)
                else:
                    found = next(encoded)
                    ids += found
                    learnt += self._learnt(part, found)
            array = np.array(ids, dtype=np.int32)
            results.append((array, np.where(np.array(learnt, dtype=bool), array, np.int32(IGNORE))))
        return results

    def _segments(self, rendered: list[Piece]) -> list[Segment | Token]:
        """Control tokens as ids, and the text between them in one piece, cut where the template cuts."""
        out: list[Segment | Token] = []
        texts: list[str] = []
        runs: list[tuple[int, bool]] = []

        def close() -> None:
            if texts:
                out.append(Segment("".join(texts), tuple(runs)))
                texts.clear()
                runs.clear()

        strip = False  # the control token before swallows white space
        for text, learn, control, cut in rendered:
            if control:
                token = self.plain.control(text)
                if token is None:
                    continue
                if token.lstrip and texts:
                    _strip_end(texts, runs)
                close()
                out.append(Token(token.id, learn))
                strip = token.rstrip
                continue
            if cut:
                close()
            if strip:
                text = text.lstrip()
            if text:
                texts.append(text)
                runs.append((len(text), learn))
                strip = False
        close()
        return out

    def _learnt(self, segment: Segment, ids: list[int]) -> list[bool]:
        """Which of a segment's ids are learnt: those whose text is learnt to the last character."""
        flags = {learn for _, learn in segment.runs}
        if len(flags) == 1:
            return [flags.pop()] * len(ids)
        learnt = [False] * len(ids)
        start = 0
        for length, learn in segment.runs:
            if learn:
                first = self.plain.boundary(segment.text, ids, start)[1]
                last = self.plain.boundary(segment.text, ids, start + length)[0]
                learnt[first:last] = [True] * max(0, last - first)
            start += length
        return learnt

    def _judge(self, conversation: Conversation, ids: np.ndarray, labels: np.ndarray) -> Encoded:
        """The outcome of a conversation: whole, made to fit, or dropped."""
        if not conversation.turns:
            return _dropped(EMPTY)
        if not _learns(labels):
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
            return Encoded(ids, labels, TRUNCATED) if _learns(labels) else _dropped(TOO_LONG)
        return self._shortened(conversation, self.max_length)

    def _shortened(self, conversation: Conversation, max_length: int) -> Encoded:
        """The longest beginning of a conversation that ends with a whole answer and fits."""
        turns = conversation.turns
        ends = [index + 1 for index, turn in enumerate(turns[:-1]) if turn.role == "assistant"]
        best = _dropped(TOO_LONG)
        while ends:  # length grows with the number of turns: halve the range
            middle = len(ends) // 2
            shorter = Conversation(turns[: ends[middle]], conversation.plain)
            ids, labels = self.encode_whole([pieces(shorter, self.form, self.learn)])[0]
            if len(ids) > max_length:
                ends = ends[:middle]
            else:
                best = Encoded(ids, labels, SHORTENED) if _learns(labels) else best
                ends = ends[middle + 1 :]
        return best


def _learns(labels: np.ndarray) -> bool:
    return bool((labels[1:] != IGNORE).any())  # nothing predicts the first token


def _dropped(reason: str) -> Encoded:
    nothing = np.empty(0, dtype=np.int32)
    return Encoded(nothing, nothing, reason)


def _strip_end(texts: list[str], runs: list[tuple[int, bool]]) -> None:
    """Drops the white space at the end of the text so far, which the control token that follows swallows."""
    while texts:
        kept = texts[-1].rstrip()
        if kept:
            texts[-1], runs[-1] = kept, (len(kept), runs[-1][1])
            return
        texts.pop()
        runs.pop()
