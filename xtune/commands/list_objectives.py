"""`xtune list-objectives`: what can be learned from a row, with every option."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from xtune.commands.list_strategies import print_options
from xtune.registries import components


def add_arguments(parser: ArgumentParser) -> None:
    del parser  # takes nothing


def run(args: Namespace) -> int:
    print_options(components().objectives)
    return 0
