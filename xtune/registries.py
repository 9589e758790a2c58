"""Finds plugins and fills the registries. Built-in components come in through the same hooks.

Registries are fresh at every `components()` and filled on first use, so listing configs never imports a template. The
environment variable XTUNE_PLUGINS chooses what is loaded: unset, all that are installed; empty, none; else the
distributions or entry points named, separated by commas.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import SimpleNamespace
from typing import Any

import pluggy

from xtune import __version__
from xtune.errors import DuplicateName, PluginError, suggestion
from xtune.plugins import hookspecs
from xtune.plugins.checks import check_components, check_distribution, check_hooks, failure
from xtune.registry import ConfigRegistry, Registry

BUILTIN_MODULES = {
    "models": "xtune.models",
    "templates": "xtune.templates",
    "mappers": "xtune.mappers",
    "strategies": "xtune.strategies",
    "commands": "xtune.commands",
}


@dataclass(frozen=True)
class Plugin:
    """A loaded plugin: the distribution's name and version, and the module (or object) that implements hooks."""

    name: str
    version: str
    module: Any

    @property
    def hooks(self) -> list[str]:
        """Names of the functions marked as hooks, whether there is such a hook or not."""
        return sorted(name for name in dir(self.module) if hasattr(getattr(self.module, name), "xtune_impl"))


@hookspecs.hookimpl
def register_configs(configs: ConfigRegistry) -> None:
    configs.add_package("xtune.configs")


class Components:
    """The six registries of one set of plugins, each filled when it is first asked for."""

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self.plugins = list(plugins)

    @cached_property
    def models(self) -> Registry[Any]:
        return self._fill("models", Registry("model"))

    @cached_property
    def templates(self) -> Registry[Any]:
        return self._fill("templates", Registry("template"))

    @cached_property
    def mappers(self) -> Registry[Any]:
        return self._fill("mappers", Registry("mapper"))

    @cached_property
    def strategies(self) -> Registry[Any]:
        return self._fill("strategies", Registry("strategy"))

    @cached_property
    def configs(self) -> ConfigRegistry:
        registry = ConfigRegistry()
        self._fill("configs", registry)
        return registry

    @cached_property
    def commands(self) -> Registry[Any]:
        return self._fill("commands", Registry("command"))

    def _fill(self, kind: str, registry: Registry[Any]) -> Registry[Any]:
        """Calls the hook of this kind, one plugin after another, so that each entry has an owner."""
        builtin = SimpleNamespace(register_configs=register_configs)
        if kind in BUILTIN_MODULES:
            builtin = import_module(BUILTIN_MODULES[kind])  # type: ignore[assignment]
        getattr(_manager(Plugin("xtune", __version__, builtin)).hook, f"register_{kind}")(**{kind: registry})
        for plugin in self.plugins:
            registry.adding = plugin.name
            try:
                getattr(_manager(plugin).hook, f"register_{kind}")(**{kind: registry})
            except (DuplicateName, PluginError):
                raise
            except Exception as error:
                raise failure(plugin.name, f"failed in register_{kind}: {type(error).__name__}: {error}") from error
            check_components(plugin, kind, registry)
        return registry


def components(entries: Iterable[EntryPoint] | None = None) -> Components:
    """Imports the plugins behind `entries` (default: find()) and returns fresh registries; nothing is kept globally.

    Raises PluginError, as load_plugin does.
    """
    return Components([load_plugin(entry) for entry in (find() if entries is None else entries)])


def find() -> list[EntryPoint]:
    """The entry points of group `xtune` that XTUNE_PLUGINS lets in, by name."""
    found = sorted(entry_points(group=hookspecs.PROJECT), key=lambda entry: entry.name)
    chosen = os.environ.get("XTUNE_PLUGINS")
    if chosen is None:
        return found
    known = {key: name for entry in found for key, name in _names(entry).items()}
    wanted = {_normal(name): name.strip() for name in chosen.split(",") if name.strip()}
    for key, name in wanted.items():
        if key not in known:
            raise PluginError(
                f"XTUNE_PLUGINS names a plugin that is not installed: got {name!r}; {suggestion(name, known.values())}"
            )
    return [entry for entry in found if wanted.keys() & _names(entry).keys()]


def load_plugin(entry: EntryPoint) -> Plugin:
    """Imports the plugin behind an entry point.

    Raises PluginError, which names the distribution, for one that is installed in two versions, asks for another xtune,
    cannot be imported, or does not fit the hooks.
    """
    name, version = _distribution(entry)
    if entry.dist and version:
        check_distribution(entry.dist)
    try:
        plugin = Plugin(name, version, entry.load())
    except (Exception, SystemExit) as error:
        raise failure(name, f"cannot be imported: {type(error).__name__}: {error}") from error
    check_hooks(plugin)
    try:
        _manager(plugin)
    except pluggy.PluginValidationError as error:
        raise failure(name, f"does not fit the hooks: {error}") from error
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


def _manager(plugin: Plugin) -> pluggy.PluginManager:
    """A pluggy manager with this one plugin, checked against the hook specifications."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin.module, name=plugin.name)
    manager.check_pending()
    return manager
