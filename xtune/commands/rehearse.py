"""xtune rehearse NAME|FILE: runs a config in small, from its names to a chat, in seconds and without a download."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from xtune.commands.config_arguments import add_config_arguments, config_from


def add_arguments(parser: ArgumentParser) -> None:
    add_config_arguments(parser)


def run(args: Namespace) -> int:
    import logging
    import sys

    from xtune.commands.console import quiet_libraries

    quiet_libraries()
    logging.getLogger("xtune").setLevel(logging.WARNING)
    from xtune.preflight.rehearse import Stage, rehearse

    screen = sys.stdout

    def tell(stage: Stage) -> None:
        print(f"{stage.name:12}  {stage.seconds:5.1f} s  {stage.told}", file=screen, flush=True)

    done = rehearse(config_from(args), tell)
    print(f"{'all stages':12}  {sum(stage.seconds for stage in done.stages):5.1f} s")
    print("replaced:", *done.replaced, sep="\n  ")
    print("not checked:", *done.not_checked, sep="\n  ")
    return 0
