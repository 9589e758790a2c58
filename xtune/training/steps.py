"""Where the loop takes its steps from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from xtune.data.schedule import Plan
from xtune.dist import ranks

if TYPE_CHECKING:
    import numpy as np

    from xtune.data.collate import Batch
    from xtune.data.pack import Pack

Step = list["Batch"]
"""This rank's micro-batches of one update of the weights. Every rank has as many."""


class Steps(Protocol):
    """A source of steps. The loop asks for each when the weights of the one before are updated, not earlier."""

    def __len__(self) -> int: ...

    def start(self, step: int) -> Iterator[Step]:
        """The steps from number `step` on, counted from 0."""


@dataclass(frozen=True)
class PackedSteps:
    """The steps of prepared data: the packs of `plan`, collated."""

    plan: Plan
    collate: Callable[[Sequence[Pack]], Batch]
    """Packs -> Batch on this rank's device."""

    def __len__(self) -> int:
        return self.plan.steps

    def start(self, step: int) -> Iterator[Step]:
        for number in range(step, len(self)):
            spare = self.plan.step_packs(number)[:1]
            yield [self._batch(chosen, spare) for chosen in self.plan.micro_batches(number, ranks.rank())]

    def _batch(self, chosen: np.ndarray, spare: np.ndarray) -> Batch:
        """A rank that has nothing in a micro-batch takes part in it with an idle batch of another pack's shape."""
        batch = self.collate([self.plan.packs[int(index)] for index in (chosen if len(chosen) else spare)])
        return batch if len(chosen) else batch.idle()
