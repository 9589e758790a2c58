"""Rendered conversations -> ids and labels, a batch at a time.

Control tokens are put in as ids. The text between two of them is encoded as a whole, because splitting it gives other
ids; where only runs of it are learnt, their edges are found among its ids. A token is learnt where all of its text is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from xtune.conversation import IGNORE
from xtune.templates.edges import Edges
from xtune.templates.plain_text import Control
from xtune.templates.render import Piece
from xtune.templates.template import BOS

Step = tuple[list[int] | int, bool | None]
"""A control token's ids, or the place of a text in the plan; and whether it is learnt, None where runs of it are."""


class Planned(NamedTuple):
    """Ids and labels (int32) of one conversation, and whether anything in it is learnt."""

    ids: np.ndarray
    labels: np.ndarray
    learns: bool


class Plan:
    """The texts of a batch of rendered conversations, and how they are put together.

    A text that is learnt as a whole or not at all is there once.
    """

    def __init__(self, edges: Edges, controls: Mapping[str, Control | None]) -> None:
        self.edges = edges
        self.controls = controls
        self.conversations: list[list[Step]] = []
        self.texts: list[str] = []
        self.inside: list[bool] = []  # whether a text follows a control token
        self.runs: dict[int, list[int]] = {}  # where learnt runs of a text begin and end, by its place
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
                    steps.append((token.ids, learn))
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
        text = texts[0] if len(texts) == 1 else "".join(texts)
        if True not in learnt or False not in learnt:
            places = self.places[inside]
            place = places.get(text)
            if place is None:
                place = places[text] = self._append(text, inside)
            return place, learnt[0]
        runs: list[int] = []
        end = 0
        for part, learn in zip(texts, learnt, strict=True):
            begin, end = end, end + len(part)
            if learn and runs and runs[-1] == begin:  # one run: a token may stand across the two texts
                runs[-1] = end
            elif learn:
                runs += (begin, end)
        place = self._append(text, inside)
        self.runs[place] = runs
        return place, None

    def _append(self, text: str, inside: bool) -> int:
        self.texts.append(text)
        self.inside.append(inside)
        return len(self.texts) - 1

    def encode(self) -> list[Planned]:
        """Encodes all texts at once and puts them together."""
        encoded, splits = self.edges.encode(self.texts, self.inside, self.runs)
        parts: list[list[int]] = []
        learnt: list[tuple[int, int]] = []
        bounds: list[tuple[int, int, bool]] = []
        total = 0
        for steps in self.conversations:
            begin = total
            for source, learn in steps:
                if isinstance(source, int):
                    ids = encoded[source]
                    if learn is None:
                        edges = splits[source]
                        for (_, first), (last, _) in zip(edges[::2], edges[1::2], strict=True):
                            if first < last:
                                learnt.append((total + first, total + last))
                else:
                    ids = source
                if learn:
                    learnt.append((total, total + len(ids)))
                parts.append(ids)
                total += len(ids)
            # nothing predicts the first token of a conversation
            bounds.append((begin, total, bool(learnt) and learnt[-1][1] > begin + 1))
        ids_of_all = np.fromiter(chain.from_iterable(parts), np.int32, total)
        labels = np.full(total, IGNORE, np.int32)
        for first, last in learnt:
            labels[first:last] = ids_of_all[first:last]
        return [Planned(ids_of_all[begin:end], labels[begin:end], learns) for begin, end, learns in bounds]


def _strip_end(texts: list[str]) -> None:
    """Drops white space at the end, which the control token that follows swallows."""
    for index in reversed(range(len(texts))):
        texts[index] = texts[index].rstrip()
        if texts[index]:
            return
