"""The learning rate as a function of the step, and nothing else: it has no state to save or to get wrong."""

from __future__ import annotations

import math
from collections.abc import Callable

from xtune.errors import ConfigError

Shape = Callable[[float], float]
"""Progress after warm-up, in [0, 1], -> the share of the learning rate, in [0, 1]."""


def check_warmup(total: int, steps: int | None) -> None:
    """Raises ConfigError where `steps` of warm-up leave none of the run's `total` steps after them."""
    if steps and steps >= total:
        raise ConfigError(
            f"schedule.warmup_steps leaves no step at the full learning rate: got `{steps}`, the run has "
            f"`{total}` steps",
            "set schedule.warmup_steps=null schedule.warmup_ratio=0.03",
        )


def warmup_length(total: int, ratio: float, steps: int | None) -> int:
    """Steps of warm-up: `steps` where given, else `ratio` of `total`, rounded up; never all of them.

    The first step of a warm-up has no learning rate at all: a run of one step would train nothing.
    """
    return min(max(0, total - 1), math.ceil(total * ratio) if steps is None else steps)


def lr_factor(step: int, *, shape: Shape, warmup: int, total: int, floor: float = 0.0) -> float:
    """What the learning rate of step `step` (from 0) is multiplied with, in [0, 1].

    It rises linearly from 0 during `warmup` steps, then goes by `shape`, which is brought from [0, 1] to [floor, 1];
    `floor` is min_lr / lr. With the built-in shapes the values are those of transformers' schedules.
    """
    if step < warmup:
        return step / max(1, warmup)
    return floor + (1.0 - floor) * max(0.0, shape((step - warmup) / max(1, total - warmup)))


def cosine(progress: float) -> float:
    """Half a cosine wave, from 1 to 0."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def linear(progress: float) -> float:
    """A line from 1 to 0."""
    return 1.0 - progress


def constant(progress: float) -> float:
    """Always 1."""
    return 1.0
