"""`xtune show-cfg`: a config as it takes effect, every default written out. What it prints is itself a config file."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from xtune.commands.config_arguments import add_config_arguments, config_from


def add_arguments(parser: ArgumentParser) -> None:
    add_config_arguments(parser)


def run(args: Namespace) -> int:
    from xtune.config.write import dump

    print(dump(config_from(args).model_dump()), end="")
    return 0
