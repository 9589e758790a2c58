"""Rendered conversations -> ids and labels, with one call of the tokenizer for a whole batch.

Control tokens are put in as ids. The text between two of them is encoded as a whole, because splitting it gives other
ids; where only a part of it is learnt, the boundary is found among its ids. A token is learnt where all of its text is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from xtune.conversation import IGNORE
from xtune.templates.plain_text import Control, PlainText
from xtune.templates.render import Piece
from xtune.templates.template import BOS

SHORT = 64
"""Up to so many characters, what stands before a learnt text in its segment is encoded to find where the text begins:
it is a template's own and the same in every row."""


class Segment(NamedTuple):
    """A text of which only parts are learnt: `runs` are (begin, end) in characters. `before`, if short, is the text
    before a single run that reaches to the end. Texts are named by their place in the plan."""

    text: int
    runs: list[tuple[int, int]]
    before: int | None


Step = tuple[list[int] | int | Segment, bool]
"""A control token's ids, a text, or a segment; and whether all of it is learnt."""


class Planned(NamedTuple):
    """Ids and labels (int32) of one conversation, and whether anything in it is learnt."""

    ids: np.ndarray
    labels: np.ndarray
    learns: bool


class Plan:
    """The texts of a batch of rendered conversations, each different one once, and how they are put together."""

    def __init__(self, plain: PlainText, controls: Mapping[str, Control | None]) -> None:
        self.plain = plain
        self.controls = controls
        self.conversations: list[list[Step]] = []
        self.texts: list[str] = []
        self.inside: list[bool] = []  # whether a text follows a control token
        self.places: tuple[dict[str, int], dict[str, int]] = ({}, {})  # of first texts, and of texts inside

    def add(self, rendered: Sequence[Piece]) -> None:
        """Plans one conversation."""
        steps: list[Step] = []
        texts: list[str] = []
        learnt: list[bool] = []
        inside = strip = False
        for text, learn, control, cut in rendered:
            token = self.controls[text] if control else None
            if texts and (cut or token):
                if token and token.lstrip:
                    _strip_end(texts)
                steps.append(self._segment(texts, learnt, inside))
                texts, learnt = [], []
            if control:
                if token:
                    steps.append(([token.id], learn))
                    strip, inside = token.rstrip, text != BOS
                continue
            if cut:
                inside = False
            if strip:
                text = text.lstrip()
            if text:
                texts.append(text)
                learnt.append(learn)
                strip = False
        if texts:
            steps.append(self._segment(texts, learnt, inside))
        self.conversations.append(steps)

    def _segment(self, texts: list[str], learnt: list[bool], inside: bool) -> Step:
        text = "".join(texts)
        whole = self._text(text, inside)
        if learnt[0]:
            if all(learnt):
                return whole, True
        elif True not in learnt:
            return whole, False
        elif learnt == [False, True] and len(texts[0]) <= SHORT:
            return Segment(whole, [(len(texts[0]), len(text))], self._text(texts[0], inside)), False
        runs: list[tuple[int, int]] = []
        begin = 0
        for part, learn in zip(texts, learnt, strict=True):
            if learn:  # one run with the part before it: an id may stand across the two
                first = runs.pop()[0] if runs and runs[-1][1] == begin else begin
                runs.append((first, begin + len(part)))
            begin += len(part)
        return Segment(whole, runs, None), False

    def _text(self, text: str, inside: bool) -> int:
        """The place of a text in the plan; a text that is there already is not encoded again."""
        places = self.places[inside]
        place = places.get(text)
        if place is None:
            place = places[text] = len(self.texts)
            self.texts.append(text)
            self.inside.append(inside)
        return place

    def encode(self) -> list[Planned]:
        """Encodes all texts at once and puts them together."""
        found = self.plain.encode(self.texts, self.inside)
        parts: list[list[int]] = []
        learnt: list[tuple[int, int]] = []
        bounds: list[tuple[int, int, bool]] = []
        total = 0
        for steps in self.conversations:
            begin = total
            for source, learn in steps:
                if isinstance(source, list):
                    ids = source
                elif isinstance(source, int):
                    ids = found[source]
                else:
                    ids = found[source.text]
                    learnt += [(total + first, total + last) for first, last in self._learnt(source, found)]
                if learn:
                    learnt.append((total, total + len(ids)))
                parts.append(ids)
                total += len(ids)
            # nothing predicts the first token of a conversation
            bounds.append((begin, total, bool(learnt) and learnt[-1][1] > begin + 1))
        whole = np.fromiter(chain.from_iterable(parts), np.int32, total)
        labels = np.full(total, IGNORE, np.int32)
        for first, last in learnt:
            labels[first:last] = whole[first:last]
        return [Planned(whole[begin:end], labels[begin:end], learns) for begin, end, learns in bounds]

    def _learnt(self, segment: Segment, found: list[list[int]]) -> list[tuple[int, int]]:
        """The (first, last + 1) ids of each run that has any: those whose text is learnt to the last character."""
        ids = found[segment.text]
        if segment.before is not None:
            before = found[segment.before]
            if ids[: len(before)] == before:
                return [(len(before), len(ids))]
        edges = [edge for run in segment.runs for edge in run]
        split = self.plain.split(self.texts[segment.text], ids, edges, inside=self.inside[segment.text])
        return [(first, last) for (_, first), (last, _) in zip(split[::2], split[1::2], strict=True) if first < last]


def _strip_end(texts: list[str]) -> None:
    """Drops white space at the end, which the control token that follows swallows."""
    for index in reversed(range(len(texts))):
        texts[index] = texts[index].rstrip()
        if texts[index]:
            return
