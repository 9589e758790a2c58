"""Dataset mappers: pure functions from a row of some format to a Conversation (or a Preference)."""

from __future__ import annotations

from typing import Any

from xtune.plugins.hookspecs import hookimpl
from xtune.registry import Registry


@hookimpl
def register_mappers(mappers: Registry[Any]) -> None:
    from xtune.mappers.builtin import MAPPERS

    for name, mapper in MAPPERS.items():
        mappers.add(name, mapper)
