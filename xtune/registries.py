"""Every component by name: one registry of each kind, filled by the hooks of the rooms and of the plugins alike.

Registries are fresh at every `components()` and filled on first use, so listing configs never imports a template.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pluggy

from xtune.plugins import hookspecs
from xtune.plugins.checks import Plugin, check_components, failing, failure
from xtune.plugins.discover import find, load_plugin
from xtune.registry import ConfigRegistry, Registry, SuffixRegistry

BUILTINS = {
    "models": "xtune.models",
    "templates": "xtune.templates",
    "sources": "xtune.sources",
    "mappers": "xtune.mappers",
    "strategies": "xtune.strategies",
    "objectives": "xtune.objectives",
    "quantizations": "xtune.quantization",
    "optimizers": "xtune.optimizers",
    "schedules": "xtune.optimizers",
    "callbacks": "xtune.callbacks",
    "configs": "xtune.catalogue",
}
"""The module of a kind whose hook adds the built-in ones."""


class Components:
    """The registries of one set of plugins, each filled when it is first asked for.

    `builtins` are the modules that add built-in components, by kind. Those of commands stand above this room: see
    `xtune.commands.components`.
    """

    def __init__(self, plugins: Iterable[Plugin], builtins: Mapping[str, str] = BUILTINS) -> None:
        self.plugins = list(plugins)
        self._builtins = builtins
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._owners: dict[str | None, Plugin] = {}
        for plugin in self.plugins:
            self._register(plugin)

    @cached_property
    def models(self) -> Registry[Any]:
        return self._filled("models", Registry("model"))

    @cached_property
    def templates(self) -> Registry[Any]:
        return self._filled("templates", Registry("template"))

    @cached_property
    def sources(self) -> Registry[Any]:
        return self._filled("sources", SuffixRegistry("source"))

    @cached_property
    def mappers(self) -> Registry[Any]:
        return self._filled("mappers", Registry("mapper"))

    @cached_property
    def strategies(self) -> Registry[Any]:
        return self._filled("strategies", Registry("strategy"))

    @cached_property
    def objectives(self) -> Registry[Any]:
        return self._filled("objectives", Registry("objective"))

    @cached_property
    def quantizations(self) -> Registry[Any]:
        return self._filled("quantizations", Registry("quantization"))

    @cached_property
    def optimizers(self) -> Registry[Any]:
        return self._filled("optimizers", Registry("optimizer"))

    @cached_property
    def schedules(self) -> Registry[Any]:
        return self._filled("schedules", Registry("schedule"))

    @cached_property
    def callbacks(self) -> Registry[Any]:
        return self._filled("callbacks", Registry("callback"))

    @cached_property
    def configs(self) -> ConfigRegistry:
        registry = ConfigRegistry(lambda: self.models)
        self._filled("configs", registry)
        return registry

    @cached_property
    def commands(self) -> Registry[Any]:
        return self._filled("commands", Registry("command"))

    def _register(self, plugin: Plugin) -> None:
        """Hands a plugin to pluggy, under a name of its own: a distribution may have several entry points."""
        try:
            self._owners[self._manager.register(plugin.module, f"{plugin.name} {len(self._owners)}")] = plugin
        except pluggy.PluginValidationError as error:
            raise failure(plugin.name, f"does not fit the hooks: {error}") from error
        except ValueError as error:
            raise failure(plugin.name, "has two entry points for one module", "leave one of them") from error

    def _filled(self, kind: str, registry: Registry[Any]) -> Registry[Any]:
        """Calls the hook of this kind, the built-in one first, so that each entry has an owner."""
        if kind in self._builtins:
            builtin = import_module(self._builtins[kind])
            getattr(builtin, f"register_{kind}")(registry)
        for hook in getattr(self._manager.hook, f"register_{kind}").get_hookimpls():
            plugin = self._owners[hook.plugin_name]
            registry.adding = plugin.name
            with failing(plugin.name, f"failed in register_{kind}"):
                hook.function(registry)
            check_components(plugin, registry, *FITTING[kind])
        return registry


def components(entries: Iterable[EntryPoint] | None = None, builtins: Mapping[str, str] = BUILTINS) -> Components:
    """Imports the plugins behind `entries` (default: all that are found) and returns fresh registries; nothing is kept.

    Raises PluginError, as load_plugin does.
    """
    return Components([load_plugin(entry) for entry in (find() if entries is None else entries)], builtins)


def _instance(place: str) -> Callable[[Any], bool]:
    """Whether a value is one of the class at `MODULE:NAME`, which is imported when a plugin adds something."""
    return lambda value: isinstance(value, _class(place))


def _subclass(place: str) -> Callable[[Any], bool]:
    """Whether a value is a class below that at `MODULE:NAME`."""
    return lambda value: isinstance(value, type) and issubclass(value, _class(place))


def _class(place: str) -> type[Any]:
    module, _, name = place.partition(":")
    found: type[Any] = getattr(import_module(module), name)
    return found


def _is_config(value: Any) -> bool:
    return isinstance(value, Path)


def _is_command(value: Any) -> bool:
    return isinstance(getattr(value, "HELP", None), str) and all(
        callable(getattr(value, name, None)) for name in ("add_arguments", "run")
    )


FITTING: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "models": ("an xtune.ModelSpec", _instance("xtune.models.spec:ModelSpec")),
    "templates": ("an xtune.ChatTemplate", _instance("xtune.templates.template:ChatTemplate")),
    "sources": ("a function from a file and its label to rows", callable),
    "mappers": ("a function from a row to an xtune.Conversation", callable),
    "strategies": ("a subclass of xtune.Tuning or xtune.Distributed", _subclass("xtune.tuning.tuning:Strategy")),
    "objectives": ("a subclass of xtune.Objective", _subclass("xtune.objectives.objective:Objective")),
    "quantizations": ("a subclass of xtune.Quantization", _subclass("xtune.quantization.quantization:Quantization")),
    "optimizers": ("a subclass of xtune.Optimizer", _subclass("xtune.optimizers.optimizer:Optimizer")),
    "schedules": ("a function from progress to a share of the learning rate", callable),
    "callbacks": ("a subclass of xtune.Callback", _subclass("xtune.callbacks.callback:Callback")),
    "configs": ("a package, with configs.add_package", _is_config),
    "commands": ("a module with HELP, add_arguments(parser) and run(args)", _is_command),
}
"""What a component of each kind is, in words and as a check."""
