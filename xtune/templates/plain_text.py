"""Text -> ids where no text ever becomes a control token, whatever it spells; and control tokens by name.

A tokenizer turns the names of its control tokens into their ids wherever they stand, in a user's text too. Here text
is encoded without them: a Rust tokenizer gets a private copy in which they are switched off, a Python one is asked to
split them; pieces that the vocabulary itself matches (sentencepiece's user-defined symbols) are broken in two.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from xtune.errors import ModelError, suggestion
from xtune.templates.template import BOS, EOS

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

MARKUP = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")
"""What control tokens look like. An added token that is not flagged special is ordinary text (runs of spaces, letters)
unless it looks like this and stands outside the trained vocabulary."""


class Control(NamedTuple):
    """A control token: its id, and whether it swallows the white space before and after it."""

    id: int
    lstrip: bool
    rstrip: bool


class PlainText:
    """One tokenizer, seen as text -> ids without control tokens. `control` lists a template's control tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, control: Sequence[str] = ()) -> None:
        self.tokenizer = tokenizer
        self.added = {token.content: (index, token) for index, token in tokenizer.added_tokens_decoder.items()}
        backend = getattr(tokenizer, "backend_tokenizer", None)
        vocabulary = backend.get_vocab(with_added_tokens=False) if backend is not None else {}
        names = {
            name
            for name, (_, token) in self.added.items()
            if token.special or (MARKUP.fullmatch(name) and name not in vocabulary)
        }
        names |= {name for name in control if name not in (BOS, EOS)}
        self.forbidden = {index: name for name in names if (index := self._id(name)) is not None}
        self.rust = _without_control(backend, list(self.forbidden.values())) if backend is not None else None

    def control(self, name: str) -> Control | None:
        """The control token of this name; None for a `{bos}` that the tokenizer does not have.

        Raises ModelError where the tokenizer has no such token.
        """
        special = {BOS: self.tokenizer.bos_token, EOS: self.tokenizer.eos_token}
        token = special.get(name, name)
        if token is None and name == BOS:
            return None
        index = self._id(token) if token is not None else None
        if index is None:
            known = [name for name in self.added if token is None or name[:1] == token[:1]]
            raise ModelError(
                f"the chat template writes a control token that the tokenizer does not have: got "
                f"{token or 'an end token'}; choose the model's own template, or {suggestion(name, known)}"
            )
        flags = self.added.get(str(token), (index, None))[1]
        return Control(index, bool(flags and flags.lstrip), bool(flags and flags.rstrip))

    def _id(self, token: str) -> int | None:
        index = self.tokenizer.convert_tokens_to_ids(token)
        if not isinstance(index, int) or index < 0:
            return None
        return index if index != self.tokenizer.unk_token_id or token == self.tokenizer.unk_token else None

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, in one call of the Rust tokenizer where there is one."""
        if self.rust is not None:
            found = [encoding.ids for encoding in self.rust.encode_batch_fast(texts, add_special_tokens=False)]
        else:
            found = [self._encode_python(text) for text in texts]
        return [
            ids if self.forbidden.keys().isdisjoint(ids) else self._broken(text)
            for text, ids in zip(texts, found, strict=True)
        ]

    def boundary(self, text: str, ids: list[int], position: int) -> tuple[int, int]:
        """Where a character position falls among a text's ids: (tokens that end at or before it, the first token that
        starts at or after it). They differ where a token stands across it.
        """
        if position >= len(text):
            return len(ids), len(ids)
        before = self.encode([text[:position]])[0]
        if ids[: len(before)] == before:
            return len(before), len(before)
        if self.rust is not None:
            offsets = self.rust.encode(text, add_special_tokens=False).offsets
            if len(offsets) == len(ids):
                ends = sum(end <= position for _, end in offsets)
                return ends, next((index for index, (start, _) in enumerate(offsets) if start >= position), len(ids))
        lengths = [len(self.tokenizer.decode(ids[:count])) for count in range(len(ids) + 1)]
        first = next((count for count, length in enumerate(lengths) if length >= position), len(ids))
        return max(count for count, length in enumerate(lengths) if length <= position), first

    def _encode_python(self, text: str) -> list[int]:
        tokens = self.tokenizer.tokenize(text, split_special_tokens=True)
        ids: list[int] = self.tokenizer.convert_tokens_to_ids(tokens)
        return ids

    def _broken(self, text: str) -> list[int]:
        """Ids of a text that spells a control token which the vocabulary itself matches: each is split in two."""
        pattern = "|".join(rf"(?<={re.escape(name[0])})(?={re.escape(name[1:])})" for name in self.forbidden.values())
        return [index for part in re.split(pattern, text) for index in self.encode([part])[0]]


_MADE: WeakKeyDictionary[Any, dict[tuple[str, ...], PlainText]] = WeakKeyDictionary()


def plain_text(tokenizer: PreTrainedTokenizerBase, control: tuple[str, ...] = ()) -> PlainText:
    """The PlainText of a tokenizer, made once: a private copy of a large vocabulary takes half a second."""
    made = _MADE.setdefault(tokenizer, {})
    if control not in made:
        made[control] = PlainText(tokenizer, control)
    return made[control]


def _without_control(backend: Tokenizer, names: Sequence[str]) -> Tokenizer:
    """A copy of a Rust tokenizer that matches none of `names` in text, and neither truncates nor pads."""
    from tokenizers import AddedToken, Tokenizer

    copy = Tokenizer.from_str(backend.to_str())
    copy.no_truncation()
    copy.no_padding()
    copy.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    copy.encode_special_tokens = True
    return copy
