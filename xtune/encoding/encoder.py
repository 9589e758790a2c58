"""Conversations and preferences -> Examples, exactly as the vendor's own code encodes its prompts.

How a conversation becomes ids is in `assembly`; here it is judged: whole, made to fit, or dropped and why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from xtune.conversation import IGNORE, Conversation, Example, Row, Tokens
from xtune.encoding.assembly import Assembled, Assembly
from xtune.encoding.boundaries import TokenBoundaries
from xtune.encoding.outcome import Outcome
from xtune.encoding.plain_text import Control, PlainText, plain_text, token_id
from xtune.errors import DataError
from xtune.templates.render import Learn, Piece, form_of, pieces
from xtune.templates.template import ChatTemplate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TooLong = Literal["drop_turns", "truncate", "error"]


class Encoded(NamedTuple):
    """What a row became. One Example, several of a plain text that was split, or none where the row is dropped."""

    examples: tuple[Example, ...]
    outcome: Outcome


class Encoder:
    """Encodes conversations and preferences for training with one template and tokenizer. Threads share it.

    `max_length` is that of a sequence, in tokens; None: no limit. `too_long` says what becomes of a longer one:
    "drop_turns" drops whole turns from the end, so that the last answer kept is complete, "truncate" keeps the first
    `max_length` tokens, "error" raises DataError. Plain text has no turns to drop: it is split every `max_length`
    tokens, and each piece is an Example. Preferences differ in their last turns: "drop_turns" drops the whole pair.
    `learn` is as in render().
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
        self.boundaries = TokenBoundaries(self.plain)
        self.controls = _Controls(self.plain)
        for name in ("begin", "system", "user", "assistant", "answer", "end"):
            for part in self.form.parts[name]:
                if part.ready[0][2]:
                    self.controls[part.text]  # a tokenizer without one is reported before any data is read

    def encode_batch(self, rows: Sequence[Row]) -> list[Encoded]:
        """One Encoded per row, in order."""
        assembly = Assembly(self.boundaries, self.controls)
        for row in rows:
            for part in row.parts:
                assembly.add(pieces(part, self.form, self.learn))
        whole = iter(assembly.encode())
        return [self._encoded(row, [next(whole) for _ in row.parts]) for row in rows]

    def encode_whole(self, rendered: Iterable[list[Piece]]) -> list[Assembled]:
        """Ids and labels of rendered conversations, whatever their length."""
        assembly = Assembly(self.boundaries, self.controls)
        for conversation in rendered:
            assembly.add(conversation)
        return assembly.encode()

    def _encoded(self, row: Row, whole: list[Assembled]) -> Encoded:
        """A row as one Example, or as several or none."""
        if isinstance(row, Conversation):
            tokens, outcome = self._judge(row, *whole[0])
            if outcome is Outcome.SPLIT:
                return Encoded(tuple(Example((piece,)) for piece in _split(tokens, self.max_length)), outcome)
            return Encoded((Example((tokens,)),) if outcome.is_kept else (), outcome)
        sides = [self._judge(part, *one, alone=False) for part, one in zip(row.parts, whole, strict=True)]
        outcome = max((outcome for _, outcome in sides), key=list(Outcome).index)
        if outcome is Outcome.TRUNCATED and len({tokens.ids.tobytes() for tokens, _ in sides}) == 1:
            outcome = Outcome.TOO_LONG  # where they differ is gone
        return Encoded((Example(tuple(tokens for tokens, _ in sides)),) if outcome.is_kept else (), outcome)

    def _judge(
        self, conversation: Conversation, tokens: Tokens, learns: bool, alone: bool = True
    ) -> tuple[Tokens, Outcome]:
        """A conversation whole or made to fit, or why it is dropped. One of a pair is neither shortened nor split."""
        if not conversation.turns:
            return tokens, Outcome.EMPTY
        if not learns:
            return tokens, Outcome.NOTHING_TO_LEARN
        length = len(tokens.ids)
        if self.max_length is None or length <= self.max_length:
            return tokens, Outcome.WHOLE
        if self.too_long == "error":
            raise DataError(
                f"a conversation has more tokens than max_length: got `{length}`, allowed are {self.max_length}",
                "raise max_length, or set too_long to drop_turns or truncate",
            )
        if self.too_long == "truncate":
            first = Tokens(tokens.ids[: self.max_length], tokens.labels[: self.max_length])
            return first, Outcome.TRUNCATED if (first.labels[1:] != IGNORE).any() else Outcome.TOO_LONG
        if conversation.plain:
            return tokens, Outcome.SPLIT if alone else Outcome.TOO_LONG
        shorter = self._shortened(conversation, self.max_length) if alone else None
        return (tokens, Outcome.TOO_LONG) if shorter is None else (shorter, Outcome.SHORTENED)

    def _shortened(self, conversation: Conversation, max_length: int) -> Tokens | None:
        """The longest beginning of a conversation that ends with a whole answer and fits."""
        turns = conversation.turns
        ends = [index + 1 for index, turn in enumerate(turns[:-1]) if turn.role == "assistant"]
        best = None
        while ends:
            # length grows with the number of turns, so the range is halved; not where reasoning is dropped from answers
            # that lie back
            middle = len(ends) // 2 if self.template.thinking is None else len(ends) - 1
            shorter = Conversation(turns[: ends[middle]], conversation.plain)
            tokens, learns = self.encode_whole([pieces(shorter, self.form, self.learn)])[0]
            if len(tokens.ids) > max_length:
                ends = ends[:middle]
            else:
                best = tokens if learns else best
                ends = ends[middle + 1 :]
        return best


def _split(tokens: Tokens, length: int | None) -> Iterator[Tokens]:
    """The consecutive pieces of `length` tokens."""
    length = length or len(tokens.ids)
    for begin in range(0, len(tokens.ids), length):
        yield Tokens(*(part[begin : begin + length] for part in tokens))


def encode_rows(rows: Sequence[Row], encoder: Encoder) -> Sequence[Encoded]:
    """Each row's conversations as one Example."""
    return encoder.encode_batch(rows)


class Recipe(NamedTuple):
    """How Examples are made of rows: of which type rows have to be, by what function, with how many sequences each."""

    takes: type[Row] = Conversation
    examples: Callable[[Sequence[Row], Encoder], Sequence[Encoded]] = encode_rows
    sequences: int = 1


PLAIN = Recipe()


class _Controls(dict[str, Control | None]):
    """Control tokens by name, each looked up when it is first written."""

    def __init__(self, plain: PlainText) -> None:
        super().__init__()
        self.plain = plain

    def __missing__(self, name: str) -> Control | None:
        self[name] = self.plain.control(name)
        return self[name]
