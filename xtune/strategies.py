"""The built-in strategies, by name."""

from __future__ import annotations

from typing import Any

from xtune.plugins.hookspecs import hookimpl
from xtune.registry import Registry


@hookimpl
def register_strategies(strategies: Registry[Any]) -> None:
    from xtune.distributed import DISTRIBUTED
    from xtune.tuning import TUNING

    for name, strategy in [*TUNING.items(), *DISTRIBUTED.items()]:
        strategies.add(name, strategy)
