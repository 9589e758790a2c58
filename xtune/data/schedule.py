"""Which packs which rank takes in which step: a pure function of the seed and the step.

So the position in the data is the step's number, a run that goes on takes up exactly where it was, and a step holds the
same packs however they are split into micro-batches and ranks.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xtune.errors import ConfigError, DataError


@dataclass(frozen=True)
class Plan:
    """How `packs` (anything with a length and `order(seed, epoch, packs a step)`) are dealt out.

    A step takes `batch_size * accumulate * ranks` packs; the last step of an epoch takes what is left.
    """

    packs: Any
    batch_size: int
    accumulate: int
    epochs: float
    max_steps: int | None = None
    ranks: int = 1
    seed: int = 0
    _orders: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)
    """The order of the newest epoch: to make one takes 34 ms for 100,000 packs, too much for every step."""

    def __post_init__(self) -> None:
        if len(self.packs) == 0:
            raise DataError("there is nothing to train on: got 0 packs", "see what was dropped in the data report")
        if self.steps == 0:
            raise ConfigError(
                f"train.epochs is too small: got {self.epochs} of {len(self.packs)} packs",
                f"set train.epochs={1 / len(self.packs):.1g} or more",
            )

    @property
    def global_batch(self) -> int:
        return self.batch_size * self.accumulate * self.ranks

    @property
    def steps_an_epoch(self) -> int:
        return math.ceil(len(self.packs) / self.global_batch)

    @property
    def steps(self) -> int:
        """Steps of the whole run. Part of an epoch is rounded up to whole steps."""
        return self.max_steps or math.ceil(self.epochs * self.steps_an_epoch - 1e-9)

    def step_packs(self, step: int) -> np.ndarray:
        """Indices of the packs of step `step` (from 0), all ranks together."""
        epoch, place = divmod(step, self.steps_an_epoch)
        start = place * self.global_batch
        if epoch not in self._orders:
            self._orders.clear()
            self._orders[epoch] = self.packs.order(self.seed, epoch, self.global_batch)
        return self._orders[epoch][start : start + self.global_batch]

    def micro_batches(self, step: int, rank: int) -> list[np.ndarray]:
        """Indices for each micro-batch of a rank. Each rank has as many; in a smaller last step some are empty."""
        chosen = self.step_packs(step)
        count = math.ceil(len(chosen) / (self.batch_size * self.ranks))
        starts = [(micro * self.ranks + rank) * self.batch_size for micro in range(count)]
        return [chosen[start : start + self.batch_size] for start in starts]


def seed_everything(*parts: int) -> None:
    """Seeds python, numpy and torch from the numbers given, such as (seed, step, rank).

    The loop does so at every step: what dropout draws then depends on nothing that came before, not on an evaluation
    and not on how often the run was interrupted. That is why a checkpoint holds no generator states.
    """
    import torch

    words = np.random.SeedSequence(parts).generate_state(3, dtype=np.uint32)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.manual_seed(int(words[2]))
