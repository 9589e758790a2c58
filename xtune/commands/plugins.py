"""`xtune plugins`: the plugins that are loaded, their hooks, and what each one added."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from xtune.plugins import components

KINDS = ("models", "templates", "mappers", "strategies", "configs", "commands")


def add_arguments(parser: ArgumentParser) -> None:
    del parser  # takes nothing


def run(args: Namespace) -> int:
    found = components()
    for plugin in found.plugins:
        print(f"{plugin.name} {plugin.version}: {', '.join(plugin.hooks)}")
        for kind in KINDS:
            registry = getattr(found, kind)
            added = [name for name in registry if registry.owner(name) == plugin.name]
            if added:
                print(f"    {kind}: {', '.join(added)}")
    if not found.plugins:
        print("no plugins are loaded")
    return 0
