"""How weights are stepped, and how the learning rate falls."""

from __future__ import annotations

from typing import Any

from xtune.plugins.hookspecs import hookimpl
from xtune.registry import Registry


@hookimpl
def register_optimizers(optimizers: Registry[Any]) -> None:
    from xtune.optimizers import adam

    optimizers.add("adamw", adam.AdamW)
    optimizers.add("adafactor", adam.Adafactor)
    optimizers.add("adamw_8bit", adam.AdamW8bit)
    optimizers.add("paged_adamw_8bit", adam.PagedAdamW8bit)
    optimizers.add("paged_adamw_32bit", adam.PagedAdamW32bit)


@hookimpl
def register_schedules(schedules: Registry[Any]) -> None:
    from xtune.optimizers import schedule

    for shape in (schedule.cosine, schedule.linear, schedule.constant):
        schedules.add(shape.__name__, shape)
