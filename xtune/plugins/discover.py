"""Finds the plugins that are installed, and imports them.

The environment variable XTUNE_PLUGINS chooses what is loaded: unset, all that are installed; empty, none; else the
distributions or entry points named, separated by commas.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from importlib.metadata import EntryPoint, distributions, entry_points

from xtune.errors import PluginError, suggestion
from xtune.plugins import hookspecs
from xtune.plugins.checks import Plugin, check_distribution, check_hooks, failing


def find() -> list[EntryPoint]:
    """The entry points of group `xtune` that XTUNE_PLUGINS lets in, by name."""
    chosen = os.environ.get("XTUNE_PLUGINS")
    if chosen == "":
        return []
    found = sorted(_installed(), key=lambda entry: entry.name)
    if chosen is None:
        return found
    known = {key: name for entry in found for key, name in _names(entry).items()}
    wanted = {_normal(name): name.strip() for name in chosen.split(",") if name.strip()}
    for key, name in wanted.items():
        if key not in known:
            raise PluginError(
                f"XTUNE_PLUGINS names a plugin that is not installed: got `{name}`", suggestion(name, known.values())
            )
    return [entry for entry in found if wanted.keys() & _names(entry).keys()]


def _installed() -> Iterable[EntryPoint]:
    """Raises PluginError, which names the first distribution whose list of entry points is damaged."""
    try:
        return entry_points(group=hookspecs.PROJECT)
    except Exception:
        for distribution in distributions():
            with failing(str(distribution.name), "has entry points that cannot be read"):
                _ = distribution.entry_points
        raise


def load_plugin(entry: EntryPoint) -> Plugin:
    """Imports the plugin behind an entry point.

    Raises PluginError, which names the distribution, for one that is installed in two versions, asks for another xtune,
    cannot be imported, or does not fit the hooks.
    """
    name, version = _distribution(entry)
    with failing(name, "cannot be checked"):
        if entry.dist and version:
            check_distribution(entry.dist)
    with failing(name, "cannot be imported"):
        plugin = Plugin(name, version, entry.load())
    with failing(name, "cannot be checked"):
        check_hooks(plugin)
    return plugin


def _distribution(entry: EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution behind an entry point; the entry point's name where it has no metadata."""
    found = entry.dist
    return (found.name, found.version) if found and found.name else (entry.name, "")


def _names(entry: EntryPoint) -> dict[str, str]:
    """What XTUNE_PLUGINS may call an entry point, its own name or its distribution's, by what to compare."""
    return {_normal(name): name for name in (entry.name, _distribution(entry)[0])}


def _normal(name: str) -> str:
    """A name as PEP 503 compares those of distributions."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
