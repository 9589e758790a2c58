"""Packing: which samples share a row of the batch. Nothing here looks at a token, only at lengths."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np


class Pack(NamedTuple):
    """The token sequences of whole Examples, one after another. `ids` and `labels` (T,) int32, `lengths` (sequences,)
    int32, sum T. `numbers` has what else is known of the Examples, each (examples, ...)."""

    ids: np.ndarray
    labels: np.ndarray
    lengths: np.ndarray
    numbers: Mapping[str, np.ndarray] = MappingProxyType({})

    def sequences(self) -> list[Pack]:
        """Each sequence as a pack of its own, without the numbers."""
        ends = np.cumsum(self.lengths)
        bounds = zip(ends - self.lengths, ends, strict=True)
        return [Pack(self.ids[a:b], self.labels[a:b], np.array([b - a], dtype=np.int32)) for a, b in bounds]


class Layout(NamedTuple):
    """Which Examples each pack holds: pack p has samples[starts[p]:starts[p + 1]]. Both int64."""

    samples: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, pack: int) -> np.ndarray:  # type: ignore[override]
        return self.samples[self.starts[pack] : self.starts[pack + 1]]


def best_fit_decreasing(lengths: np.ndarray, capacity: int) -> Layout:
    """Packs of at most `capacity` tokens: every sample, longest first, goes where it leaves the least space.

    Best-fit decreasing (Johnson, 1973) never needs more than 11/9 of the fewest packs possible (plus one), and with the
    many short samples of instruction data it wastes next to nothing. No sample is split; equal lengths are placed in
    order, so the result depends on `lengths` (samples,) alone. Raises ValueError for a sample longer than `capacity`.
    """
    if len(lengths) and int(lengths.max()) > capacity:
        raise ValueError(f"a sample of {int(lengths.max())} tokens does not fit a pack of {capacity}")
    capacity = min(capacity, int(lengths.sum()))  # no pack can have more, and a list is kept for each length
    longest_first = np.argsort(-lengths.astype(np.int64), kind="stable")
    pack_of = np.empty(len(lengths), dtype=np.int64)
    packs_with: list[list[int]] = [[] for _ in range(capacity + 1)]  # by the space they have left
    spaces = 0  # bit s is set where packs_with[s] is not empty, so the tightest fit is the lowest bit from `length` up
    packs = 0
    for sample, length in zip(longest_first.tolist(), lengths[longest_first].tolist(), strict=True):
        fitting = spaces >> length
        if fitting:
            space = length + (fitting & -fitting).bit_length() - 1
            pack = packs_with[space].pop()
            if not packs_with[space]:
                spaces ^= 1 << space
        else:
            space, pack = capacity, packs
            packs += 1
        pack_of[sample] = pack
        packs_with[space - length].append(pack)
        spaces |= 1 << (space - length)
    return Layout(np.argsort(pack_of, kind="stable"), _starts(np.bincount(pack_of, minlength=packs)))


def one_each(lengths: np.ndarray) -> Layout:
    """A pack for every sample: training without packing."""
    return Layout(np.arange(len(lengths)), np.arange(len(lengths) + 1))


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
