"""The order in which an epoch visits its packs: random, and a function of data, seed, epoch and the size of a step."""

from __future__ import annotations

import numpy as np

SHUFFLED = "shuffled"
GROUPED = "shuffled, by length within a step"


def shuffled(packs: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of `packs` indices, int64."""
    return np.random.default_rng((seed, epoch)).permutation(packs)


def grouped_in_steps(order: np.ndarray, lengths: np.ndarray, step: int) -> np.ndarray:
    """`order` with each stretch of `step` indices sorted by length, the longest first.

    Micro-batches, and the ranks that compute at the same time, get samples of like length, and the largest batch comes
    first, where memory that does not suffice shows at once. Which samples a step has stays random: steps of like
    length would weigh the tokens of short samples more, because a step's loss is divided by its own tokens.
    """
    return order[np.lexsort((-lengths[order], np.arange(len(order)) // step))]
