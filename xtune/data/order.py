"""The order in which an epoch visits its packs. It depends on seed and epoch alone, never on how batches are cut."""

from __future__ import annotations

import numpy as np

BLOCK = 4096  # packs sorted by length at once: so many that neighbours are alike, so few that each epoch's differ
RUN = 64  # packs of like length in a row: what a batch, or a step of several micro-batches, takes its rows from


def shuffled(packs: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of `packs` indices, int64."""
    return np.random.default_rng((seed, epoch)).permutation(packs)


def grouped_by_length(lengths: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """A permutation in which stretches of RUN indices have like lengths, and the stretches come in random order.

    Batches of single samples are then padded little, while short and long ones still take turns.
    """
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(lengths))
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        order[start : start + BLOCK] = block[np.argsort(lengths[block], kind="stable")]
    runs = [order[start : start + RUN] for start in range(0, len(order), RUN)]
    return np.concatenate([runs[run] for run in random.permutation(len(runs))]) if runs else order
