"""Rendered conversations -> ids and labels, a batch at a time.

Control tokens are put in as ids. The text between two of them is encoded as a whole, because splitting it gives other
ids; where only runs of it are trained on, their token boundaries are found. A token is trained on
where all of its text is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from xtune.conversation import IGNORE, Tokens
from xtune.encoding.boundaries import Runs, TokenBoundaries
from xtune.encoding.plain_text import Control
from xtune.templates.render import Piece
from xtune.templates.template import BOS

Segment = int | list[int]
"""The place of a text among an Assembly's, or the ids of a segment that needs no encoding."""


class Assembled(NamedTuple):
    """One conversation, and whether anything in it is trained on."""

    tokens: Tokens
    learns: bool


class Assembly:
    """The texts of a batch of rendered conversations, and how they are put together.

    A conversation is a number of segments: control tokens, and texts between them. A text that is trained on as a
    whole or not at all is kept once, however often it is written.
    """

    def __init__(self, boundaries: TokenBoundaries, controls: Mapping[str, Control | None]) -> None:
        self.boundaries = boundaries
        self.controls = controls
        self.segments: list[Segment] = []
        self.trained: list[bool] = []  # whether each is trained on; of texts with runs, False
        self.ends: list[int] = [0]  # of the conversations among the segments
        self.texts: list[str] = []
        self.inside: list[bool] = []  # whether a text follows a control token
        self.runs: dict[int, Runs] = {}  # of texts of which only these are trained on, by their place
        self.split: list[int] = []  # the segments of those texts, in the same order
        self.places: tuple[dict[str, int], dict[str, int]] = ({}, {})  # of first texts, and of texts inside

    def add(self, rendered: Sequence[Piece]) -> None:
        """Adds one conversation."""
        controls, add_segment, add_trained = self.controls, self.segments.append, self.trained.append
        texts: list[str] = []
        trained: list[bool] = []
        inside = strip = False
        for text, learn, control, cut in rendered:
            token = controls[text] if control else None
            if texts and (cut or token):
                if token and token.lstrip:
                    _strip_end(texts)
                self._add_text(texts, trained, inside)
                texts, trained = [], []
            if control:
                if token:
                    add_segment(token.ids)
                    add_trained(learn)
                    strip, inside = token.rstrip, text != BOS
                continue
            if cut:
                inside = False
            if strip:
                text = text.lstrip()
            if text:
                texts.append(text)
                trained.append(learn)
                strip = False
        if texts:
            self._add_text(texts, trained, inside)
        self.ends.append(len(self.segments))

    def _add_text(self, texts: list[str], trained: list[bool], inside: bool) -> None:
        if len(texts) == 1:
            text, split = texts[0], False
        else:
            text, split = "".join(texts), True in trained and False in trained
        place = -1 if split else self.places[inside].get(text, -1)
        if place < 0:
            place = len(self.texts)
            self.texts.append(text)
            self.inside.append(inside)
            if split:
                self.runs[place] = _runs(texts, trained)
                self.split.append(len(self.segments))
            else:
                self.places[inside][text] = place
        self.segments.append(place)
        self.trained.append(trained[0] and not split)

    def encode(self) -> list[Assembled]:
        """Encodes all texts at once and puts them together."""
        encoded, runs_of_ids = self.boundaries.encode(self.texts, self.inside, self.runs)
        parts = [encoded[segment] if isinstance(segment, int) else segment for segment in self.segments]
        lengths = np.fromiter(map(len, parts), np.intp, len(parts))
        starts = np.concatenate([[0], np.cumsum(lengths)])
        ids = np.fromiter(chain.from_iterable(parts), np.int32, int(starts[-1]))
        trained = np.repeat(np.array(self.trained, bool), lengths)
        for place, segment in zip(self.runs, self.split, strict=True):
            start = starts[segment]
            for begin, end in runs_of_ids[place]:
                trained[start + begin : start + end] = True
        labels = np.where(trained, ids, np.int32(IGNORE))
        bounds = starts[self.ends]
        first, last = bounds[:-1], bounds[1:]
        before = np.concatenate([[0], np.cumsum(trained)])  # how many are trained on before each id
        # nothing predicts the first token of a conversation
        learns = before[last] > before[np.minimum(first + 1, last)]
        rows = zip(first.tolist(), last.tolist(), learns.tolist(), strict=True)
        return [Assembled(Tokens(ids[begin:end], labels[begin:end]), learn) for begin, end, learn in rows]


def _runs(texts: Sequence[str], trained: Sequence[bool]) -> list[tuple[int, int]]:
    """Where the trained runs of texts that lie one after another begin and end, in characters."""
    runs: list[tuple[int, int]] = []
    end = 0
    for text, learn in zip(texts, trained, strict=True):
        begin, end = end, end + len(text)
        if learn and runs and runs[-1][1] == begin:  # one run: a token may stand across the two texts
            runs[-1] = (runs[-1][0], end)
        elif learn:
            runs.append((begin, end))
    return runs


def _strip_end(texts: list[str]) -> None:
    """Drops white space at the end, which the control token that follows swallows."""
    for index in reversed(range(len(texts))):
        texts[index] = texts[index].rstrip()
        if texts[index]:
            return
