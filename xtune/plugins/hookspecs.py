"""The hooks by which components come in, the built-in ones and those of plugins alike.

A plugin is a distribution with an entry point in the group `xtune` that names a module (or object) with functions of
these names, marked with `xtune.hookimpl`. Each takes one registry, which has the built-in components already, and adds
to it. The module is imported by every command: what is heavy (torch, pydantic) is imported inside the functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from xtune.registry import ConfigRegistry, Registry

PROJECT = "xtune"
API_VERSION = "1.9"
"""Of the hooks and the public API. A changed or removed signature raises the first number, an added one the second."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_models(models: Registry[Any]) -> None:
    """Adds base models: `models.add("internlm_7b", ModelSpec(...))`."""


@hookspec
def register_templates(templates: Registry[Any]) -> None:
    """Adds chat templates: `templates.add("chatml", ChatTemplate(...))`."""


@hookspec
def register_sources(sources: Registry[Any]) -> None:
    """Adds readers of files, by suffix: `sources.add(".sqlite", read)`, of which read(file, label) yields Rows."""


@hookspec
def register_mappers(mappers: Registry[Any]) -> None:
    """Adds dataset mappers: `mappers.add("alpaca", function)`, a pure function from a row to a Conversation."""


@hookspec
def register_strategies(strategies: Registry[Any]) -> None:
    """Adds strategies, of tuning or of distribution: `strategies.add("lora", Lora)`."""


@hookspec
def register_objectives(objectives: Registry[Any]) -> None:
    """Adds objectives, what is learned from a row: `objectives.add("sft", Sft)`."""


@hookspec
def register_quantizations(quantizations: Registry[Any]) -> None:
    """Adds ways to hold the weights of a base: `quantizations.add("nf4", Nf4)`, a subclass of Quantization."""


@hookspec
def register_optimizers(optimizers: Registry[Any]) -> None:
    """Adds optimizers: `optimizers.add("lion", Lion)`, a subclass of Optimizer."""


@hookspec
def register_schedules(schedules: Registry[Any]) -> None:
    """Adds schedules: `schedules.add("linear", function)`, from progress (0 to 1) to a share of the rate (0 to 1)."""


@hookspec
def register_callbacks(callbacks: Registry[Any]) -> None:
    """Adds what watches a run: `callbacks.add("clock", Clock)`, a subclass of Callback."""


@hookspec
def register_configs(configs: ConfigRegistry) -> None:
    """Adds configs by package: `configs.add_package("my_plugin.configs")`."""


@hookspec
def register_commands(commands: Registry[Any]) -> None:
    """Adds subcommands: `commands.add("greet", module)`, a module with `HELP`, `add_arguments(parser)`, `run(args)`."""
