"""`xtune list-components`: the kinds of components that have no list of their own, with every option."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from xtune.commands.list_strategies import print_options
from xtune.registries import components

KINDS = ("quantizations", "optimizers", "schedules", "callbacks", "sources")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("kind", nargs="?", choices=KINDS, help="list only these")


def run(args: Namespace) -> int:
    found = components()
    for kind in KINDS if args.kind is None else [args.kind]:
        registry = getattr(found, kind)
        print_options({f"{name} ({registry.kind})": component for name, component in registry.items()})
    return 0
