"""xtune rehearse NAME|FILE: runs a config in small, from its names to a chat, in seconds and without a download."""

from __future__ import annotations

import logging
import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from xtune.commands.config_arguments import add_config_arguments, config_from

if TYPE_CHECKING:
    from xtune.config.schema import Config
    from xtune.rehearse.rehearse import Stage


def add_arguments(parser: ArgumentParser) -> None:
    add_config_arguments(parser)


def run(args: Namespace) -> int:
    return rehearse(config_from(args))


def rehearse(config: Config) -> int:
    """Runs `config` in small and prints each stage, what was replaced and what was not checked."""
    from xtune.commands.console import quiet_libraries

    quiet_libraries()
    logging.getLogger("xtune").setLevel(logging.WARNING)
    from xtune.rehearse.rehearse import rehearse

    screen = sys.stdout  # a stage keeps what it prints to itself

    def report(stage: Stage) -> None:
        print(f"{stage.name:12}  {stage.seconds:5.1f} s  {stage.outcome}", file=screen, flush=True)

    done = rehearse(config, report)
    print(f"{'all stages':12}  {sum(stage.seconds for stage in done.stages):5.1f} s")
    print("replaced:", *done.replaced, sep="\n  ")
    print("not checked:", *done.not_checked, sep="\n  ")
    return 0
