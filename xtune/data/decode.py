"""Ids and labels -> spans: a stored sample as a person can read it, with what is trained on."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from xtune.conversation import IGNORE, Span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CONTEXT = 8  # ids before a span that are decoded with it: pieces of a character, and spaces that a start would lose


def control_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The ids that the tokenizer flags as special."""
    added = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return frozenset(added | set(tokenizer.all_special_ids))


def decode_sample(
    ids: np.ndarray, labels: np.ndarray, tokenizer: PreTrainedTokenizerBase, control: frozenset[int]
) -> list[Span]:
    """The spans of a sample, ids and labels (T,). Each of the `control` ids is a span of its own, by name."""
    trained = (labels != IGNORE).tolist()
    tokens = list(zip(ids.tolist(), trained, strict=True))
    spans = []
    before: list[int] = []
    for (learn, is_control), group in groupby(tokens, key=lambda token: (token[1], token[0] in control)):
        run = [index for index, _ in group]
        if is_control:
            spans += [Span(name, learn, control=True) for name in tokenizer.convert_ids_to_tokens(run)]
            before = []
        else:
            known = tokenizer.decode(before)
            spans.append(Span(tokenizer.decode(before + run)[len(known) :], learn))
            before = (before + run)[-CONTEXT:]
    return spans
