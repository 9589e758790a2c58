"""The learning rate as a function of the step, and nothing else: it has no state to save or to get wrong."""

from __future__ import annotations

import math


def warmup_length(total: int, ratio: float, steps: int | None) -> int:
    """Steps of warm-up: `steps` where given, else `ratio` of `total`, rounded up; never all of them.

    The first step of a warm-up has no learning rate at all: a run of one step would train nothing.
    """
    return min(max(0, total - 1), math.ceil(total * ratio) if steps is None else steps)


def lr_factor(step: int, *, name: str, warmup: int, total: int, floor: float = 0.0) -> float:
    """What the learning rate of step `step` (from 0) is multiplied with, in [0, 1].

    It rises linearly from 0 during `warmup` steps, then falls from 1 towards `floor` (min_lr / lr) by `name`: half a
    cosine wave, a line, or not at all. The values are those of transformers' schedules.
    """
    if step < warmup:
        return step / max(1, warmup)
    if name == "constant":
        return 1.0
    progress = (step - warmup) / max(1, total - warmup)
    shape = 0.5 * (1.0 + math.cos(math.pi * progress)) if name == "cosine" else 1.0 - progress
    return floor + (1.0 - floor) * max(0.0, shape)
