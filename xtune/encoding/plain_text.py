"""Text -> ids where no text ever becomes a control token, whatever it spells; and control tokens by name.

A tokenizer turns the names of its control tokens into their ids wherever they stand, in a user's text too. Here text
is encoded without them: a Rust tokenizer gets a private copy in which they are switched off, a Python one is asked to
split them; pieces that the vocabulary itself matches (sentencepiece's user-defined symbols) are broken in two.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from xtune.errors import ModelError
from xtune.templates.template import BOS, EOS

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer
    from transformers import PreTrainedTokenizerBase

MARKUP = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")
"""What control tokens look like. An added token that is not flagged special is ordinary text (runs of spaces, letters,
HTML tags) unless it looks like this and stands outside the trained vocabulary."""


class Control(NamedTuple):
    """A control token: its id, alone in a list, and whether it swallows the white space before and after it."""

    ids: list[int]
    lstrip: bool
    rstrip: bool


class PlainText:
    """One tokenizer, seen as text -> ids without control tokens. `control` lists a template's control tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, control: Collection[str] = ()) -> None:
        self.tokenizer = tokenizer
        self.added = {token.content: (index, token) for index, token in tokenizer.added_tokens_decoder.items()}
        backend = getattr(tokenizer, "backend_tokenizer", None)
        vocabulary = backend.get_vocab(with_added_tokens=False) if backend is not None else {}
        names = {name for name in control if name not in (BOS, EOS)}
        for name, (_, token) in self.added.items():
            if token.special or (MARKUP.fullmatch(name) and name not in vocabulary):
                names.add(name)
        names.discard(str(tokenizer.unk_token))  # what any unknown letter becomes
        forbidden = {index: name for name in names if (index := token_id(tokenizer, name)) is not None}
        self.start: Tokenizer | None = None
        self.inside: Tokenizer | None = None
        if backend is not None:
            self.start, self.inside = _without_control(backend, list(forbidden.values()))
        self.forbidden = {index: name for index, name in forbidden.items() if self._spells(index, name)}

    def control(self, name: str) -> Control | None:
        """The control token of this name; None for a `{bos}` that the tokenizer does not have.

        Raises ModelError where the tokenizer has no such token.
        """
        special = {BOS: self.tokenizer.bos_token, EOS: self.tokenizer.eos_token}
        token = special.get(name, name)
        if token is None and name == BOS:
            return None
        index = token_id(self.tokenizer, token) if token is not None else None
        if index is None:
            raise ModelError(
                "the chat template writes a control token that the tokenizer does not have: got "
                f"{f'`{token}`' if token else 'an end token'}",
                "choose the model's own template (xtune check-template MODEL says which)",
            )
        flags = self.added.get(str(token), (index, None))[1]
        return Control([index], bool(flags and flags.lstrip), bool(flags and flags.rstrip))

    def encode(self, texts: Sequence[str], inside: Sequence[bool]) -> list[list[int]]:
        """The ids of each text, in one call of the Rust tokenizer where there is one.

        `inside` says of each text whether it follows a control token: some tokenizers put a space in front of a first
        text only, and they are called twice.
        """
        if self.start is None:
            found = [self._encode_python(text) for text in texts]
        else:
            found = [encoding.ids for encoding in self._call("encode_batch_fast", texts, inside)]
        if not self.forbidden:
            return found
        return [self._checked(ids, text, within) for ids, text, within in zip(found, texts, inside, strict=True)]

    def encode_with_offsets(
        self, texts: Sequence[str], inside: Sequence[bool]
    ) -> list[tuple[list[int], Encoding | None]]:
        """As encode(), each with the Rust encoding that has the offsets; None where the ids are not that encoding's."""
        if self.start is None:
            return [(ids, None) for ids in self.encode(texts, inside)]
        out: list[tuple[list[int], Encoding | None]] = []
        for encoding, text, within in zip(self._call("encode_batch", texts, inside), texts, inside, strict=True):
            whole = encoding.ids
            ids = self._checked(whole, text, within)
            out.append((ids, encoding if ids is whole else None))
        return out

    def _call(self, name: str, texts: Sequence[str], inside: Sequence[bool]) -> list[Any]:
        """Calls a batch method of the Rust tokenizer, or of both."""
        if self.start is self.inside:
            found: list[Any] = getattr(self.start, name)(texts, add_special_tokens=False)
            return found
        first = [text for text, within in zip(texts, inside, strict=True) if not within]
        later = [text for text, within in zip(texts, inside, strict=True) if within]
        called = [
            iter(getattr(rust, name)(part, add_special_tokens=False))
            for rust, part in ((self.start, first), (self.inside, later))
        ]
        return [next(called[within]) for within in inside]

    def _checked(self, ids: list[int], text: str, inside: bool) -> list[int]:
        """The ids, or others where a control token is among them."""
        if self.forbidden.keys().isdisjoint(ids):
            return ids
        return self._broken(text, inside)

    def _encode_python(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.convert_tokens_to_ids(self.tokenizer.tokenize(text, split_special_tokens=True))
        return ids

    def _spells(self, index: int, name: str) -> bool:
        """Whether a text that has a control token's name in it becomes that token after all."""
        probes = (name, f" {name} ", f"x{name}y", name + name)
        if self.start is not None:
            return any(index in self.start.encode(probe, add_special_tokens=False).ids for probe in probes)
        return any(index in self._encode_python(probe) for probe in probes)

    def _broken(self, text: str, inside: bool) -> list[int]:
        """Ids of a text that spells control tokens which the vocabulary itself matches: each is broken in two.

        Where the name shows only after the tokenizer's normalization (full-width letters), the text is encoded letter
        by letter.
        """
        names = [name for name in self.forbidden.values() if len(name) > 1]
        cuts = "|".join(rf"(?<={re.escape(name[0])})(?={re.escape(name[1:])})" for name in names)
        parts = re.split(cuts, text) if names else [text]
        if len(parts) == 1:
            parts = list(text)
        if len(parts) == 1:
            return []
        return [index for ids in self.encode(parts, [inside] + [True] * (len(parts) - 1)) for index in ids]


def token_id(tokenizer: PreTrainedTokenizerBase, name: str) -> int | None:
    """The id of a token by name; None where the tokenizer has none."""
    index = tokenizer.convert_tokens_to_ids(name)
    # the id of the unknown token says nothing: it may be that of another name, and end answers or begin texts too
    known = isinstance(index, int) and index >= 0 and tokenizer.convert_ids_to_tokens(index) == name
    return index if known else None


_MADE: WeakKeyDictionary[Any, dict[frozenset[str], PlainText]] = WeakKeyDictionary()


def plain_text(tokenizer: PreTrainedTokenizerBase, control: Collection[str] = ()) -> PlainText:
    """The PlainText of a tokenizer, made once: a private copy of a large vocabulary takes half a second.

    Templates share one, unless they have control tokens that the tokenizer does not flag as special.
    """
    made = _MADE.setdefault(tokenizer, {})
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    own = frozenset(name for name in control if name not in special and token_id(tokenizer, name) is not None)
    if own not in made:
        made[own] = PlainText(tokenizer, own)
    return made[own]


def _without_control(backend: Tokenizer, names: Sequence[str]) -> tuple[Tokenizer, Tokenizer]:
    """Copies of a Rust tokenizer that match none of `names` in text: for a first text, and for one inside.

    They are one and the same unless the tokenizer puts a space in front of a first text only.
    """
    import json

    from tokenizers import AddedToken, Tokenizer

    def prepare(copy: Tokenizer) -> Tokenizer:
        copy.no_truncation()
        copy.no_padding()
        copy.post_processor = None  # it may trim offsets
        copy.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
        copy.encode_special_tokens = True
        return copy

    written = backend.to_str()
    start = prepare(Tokenizer.from_str(written))
    if '"prepend_scheme":"first"' not in written.replace(" ", ""):
        return start, start
    never = re.sub(r'("prepend_scheme"\s*:\s*)"first"', r'\1"never"', json.dumps(json.loads(written)["pre_tokenizer"]))
    values = {**json.loads(written), "pre_tokenizer": json.loads(never)}
    return start, prepare(Tokenizer.from_str(json.dumps(values)))
