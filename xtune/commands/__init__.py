"""The built-in subcommands, by name. A command's module is imported when that command runs, and not before."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

from xtune import registries
from xtune.plugins.hookspecs import hookimpl
from xtune.registries import Components
from xtune.registry import Registry

COMMANDS = {
    "train": "fine-tune a model as a config says",
    "chat": "talk to a model, with or without an adapter",
    "convert": "turn checkpoints into adapters and model folders; merge",
    "list-cfg": "list configs by name",
    "copy-cfg": "copy a config to a file of your own, with comments",
    "show-cfg": "print a config with overrides applied",
    "list-models": "list base models with size, context, template and licence",
    "list-templates": "list chat templates, each with an example",
    "list-mappers": "list dataset mappers: a row in, a conversation out",
    "list-objectives": "list objectives, what is learned from a row, and their options",
    "list-strategies": "list strategies and their options",
    "list-components": "list quantizations, optimizers, schedules, callbacks and readers of files, with options",
    "plugins": "list plugins, what they add, and what cannot be loaded",
    "new-plugin": "write a plugin of your own to start from, with tests",
    "rehearse": "run a config in small: all stages, in seconds, without a download",
    "check": "find what would go wrong before training begins: settings, packages, memory, template, data",
    "plan": "show parameters, memory, work and disk of a config before anything is downloaded",
    "check-template": "compare a chat template with the tokenizer's own",
    "check-custom-dataset": "check the rows of a data file",
    "log-dataset": "show rows as the model will see them, and what is trained on",
    "cache": "list or clear prepared data",
}
"""Names and their one line of help. The module of `list-cfg` is `xtune.commands.list_cfg`."""

BUILTINS = registries.BUILTINS | {"commands": __name__}


@dataclass(frozen=True)
class Command:
    """A command whose module is imported on use. It replaces the module: HELP, add_arguments, run."""

    module_name: str
    HELP: str

    @property
    def module(self) -> ModuleType:
        return import_module(self.module_name)

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.module.add_arguments(parser)

    def run(self, args: Namespace) -> int:
        return self.module.run(args)


@hookimpl
def register_commands(commands: Registry[Any]) -> None:
    for name, line in COMMANDS.items():
        commands.add(name, Command(f"xtune.commands.{name.replace('-', '_')}", line))


def components(entries: Iterable[EntryPoint] | None = None) -> Components:
    """Every registry, that of commands too. Imports the plugins behind `entries` (default: all that are found).

    Raises PluginError for a plugin that cannot be used.
    """
    return registries.components(entries, BUILTINS)
