"""Finds plugins and fills the registries. Built-in components come in through the same hooks.

Registries are fresh at every `components()` and filled on first use, so listing configs never imports a template. The
environment variable XTUNE_PLUGINS chooses what is loaded: unset, all that are installed; empty, none; else the
distributions or entry points named, separated by commas.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import SimpleNamespace
from typing import Any

import pluggy

from xtune import hookspecs
from xtune.errors import PluginError, XtuneError, suggestion
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
        """Names of the hooks it implements."""
        return sorted(name for name in dir(self.module) if name.startswith("register_"))


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
        for plugin in [Plugin("xtune", "", builtin), *self.plugins]:
            registry.adding = plugin.name
            manager = _manager(plugin)
            try:
                getattr(manager.hook, f"register_{kind}")(**{kind: registry})
            except XtuneError:
                raise
            except Exception as error:
                raise PluginError(
                    f"plugin {plugin.name} failed in register_{kind}: {type(error).__name__}: {error}; "
                    f"{_turn_off(plugin.name)}"
                ) from error
        return registry


def _manager(plugin: Plugin) -> pluggy.PluginManager:
    """A pluggy manager with this one plugin, checked against the hook specifications."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(plugin.module, name=plugin.name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        known = [name for name in dir(hookspecs) if name.startswith("register_")]
        wrong = next((name for name in plugin.hooks if name not in known), "")
        hint = suggestion(wrong, known) if wrong else "each hook takes one registry, named as in its specification"
        raise PluginError(
            f"plugin {plugin.name} does not fit the hooks: {' '.join(str(error).split())}; {hint} "
            f"{_turn_off(plugin.name)}"
        ) from error
    return manager


def _turn_off(name: str) -> str:
    return f"mend it, uninstall {name}, or set XTUNE_PLUGINS= to load no plugin"


def find() -> list[EntryPoint]:
    """The entry points of group `xtune` that XTUNE_PLUGINS lets in, by name."""
    found = sorted(entry_points(group=hookspecs.PROJECT), key=lambda entry: entry.name)
    chosen = os.environ.get("XTUNE_PLUGINS")
    if chosen is None:
        return found
    wanted = [name.strip() for name in chosen.split(",") if name.strip()]
    names = {key: entry for entry in found for key in (entry.name, _distribution(entry)[0])}
    for name in wanted:
        if name not in names:
            raise PluginError(
                f"XTUNE_PLUGINS names a plugin that is not installed: got {name!r}; {suggestion(name, names)}"
            )
    return [entry for entry in found if entry.name in wanted or _distribution(entry)[0] in wanted]


def _distribution(entry: EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution behind an entry point."""
    return (entry.dist.name, entry.dist.version) if entry.dist else (entry.name, "")


def components(entries: Iterable[EntryPoint] | None = None) -> Components:
    """Imports the plugins behind `entries` (default: find()) and returns fresh registries; nothing is kept globally.

    Raises PluginError, which names the distribution, for one that cannot be imported or implements an unknown hook.
    """
    plugins = []
    for entry in find() if entries is None else entries:
        name, version = _distribution(entry)
        try:
            module = entry.load()
        except Exception as error:
            raise PluginError(
                f"plugin {name} cannot be imported: {type(error).__name__}: {error}; {_turn_off(name)}"
            ) from error
        plugins.append(Plugin(name, version, module))
        _manager(plugins[-1])
    return Components(plugins)
