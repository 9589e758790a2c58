"""What ends an answer: token ids and, where the tokenizer has no single token for it, strings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from xtune.encoding.plain_text import token_id
from xtune.templates.render import end_strings
from xtune.templates.template import EOS, ChatTemplate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Stops(NamedTuple):
    """The first of `ids` or of `strings` ends an answer and is no part of it."""

    ids: list[int]
    strings: list[str]

    def answer(self, ids: Iterable[int], tokenizer: PreTrainedTokenizerBase) -> str:
        """The text of generated ids up to what ends them, without control tokens and white space around it."""
        kept: list[int] = []
        for token in ids:
            if token in self.ids:
                break
            kept.append(token)
        text: str = tokenizer.decode(kept, skip_special_tokens=True)
        return self.before(text).strip()

    def before(self, text: str) -> str:
        """`text` up to the first stop string."""
        return text[: min((place for string in self.strings if (place := text.find(string)) >= 0), default=len(text))]

    def certain(self, text: str) -> str:
        """The part of a text that is still being written which no stop string can take back."""
        if (sure := self.before(text)) != text:
            return sure
        begun = (n for string in self.strings for n in range(1, len(string)) if text.endswith(string[:n]))
        return text[: len(text) - max(begun, default=0)]


def stops(
    template: ChatTemplate | None, tokenizer: PreTrainedTokenizerBase, own: int | list[int] | None = None
) -> Stops:
    """Token ids: the template's, the tokenizer's end token, the model's `own`. Strings: the template's others."""
    ends = [text for text in (end_strings(template) if template is not None else []) if text != EOS]
    found = {text: token_id(tokenizer, text) for text in ends}
    ids = {*(own if isinstance(own, list) else [own]), tokenizer.eos_token_id, *found.values()}
    return Stops(sorted(ids - {None}), [text for text, index in found.items() if index is None])
