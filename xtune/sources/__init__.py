"""Where rows come from."""

from __future__ import annotations

from typing import Any

from xtune.plugins.hookspecs import hookimpl
from xtune.registry import Registry


@hookimpl
def register_sources(sources: Registry[Any]) -> None:
    from xtune.sources.source import READERS

    for suffix, reader in READERS.items():
        sources.add(suffix, reader)
