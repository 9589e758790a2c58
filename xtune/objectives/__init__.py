"""The built-in objectives, by name: what is learned from a row."""

from __future__ import annotations

from typing import Any

from xtune.plugins.hookspecs import hookimpl
from xtune.registry import Registry


@hookimpl
def register_objectives(objectives: Registry[Any]) -> None:
    from xtune.objectives.dpo import Dpo
    from xtune.objectives.sft import Pretrain, Sft

    for name, objective in {"sft": Sft, "pretrain": Pretrain, "dpo": Dpo}.items():
        objectives.add(name, objective)
