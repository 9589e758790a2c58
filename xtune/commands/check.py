"""xtune check NAME|FILE: all that can be known before training begins; exit code 2 where it must not start."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from xtune.commands.argument_types import given
from xtune.commands.config_arguments import add_config_arguments, config_from, work_dir_from

if TYPE_CHECKING:
    from xtune.check.finding import Finding

STYLES = {"ok": "green", "warning": "yellow", "error": "bold red", "unknown": "dim"}


def add_arguments(parser: ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument(
        "--work-dir", metavar="DIR", type=given, help="where the run would be written (default: work_dirs/NAME)"
    )


def run(args: Namespace) -> int:
    from itertools import chain

    from xtune.check.data import of_data
    from xtune.check.model import of_model
    from xtune.check.settings import of_settings
    from xtune.commands.console import quiet_libraries
    from xtune.dist.started_by import ranks_wanted
    from xtune.resolve import resolve

    quiet_libraries()
    found = resolve(config_from(args))
    work_dir = work_dir_from(args)
    ranks = ranks_wanted()
    errors = 0
    for finding in chain(of_settings(found, work_dir, ranks), of_model(found), of_data(found, ranks)):
        show(finding)
        errors += finding.level == "error"
    if errors:
        print(f"\nnot ready to train: {errors} thing{'s' if errors > 1 else ''} to correct")
        return 2
    print("\nready to train")
    return 0


def show(finding: Finding) -> None:
    """Prints one finding."""
    from rich.text import Text

    from xtune.terminal import console
    from xtune.text import visible

    level = (f"{finding.level:<9}", STYLES[finding.level])
    console(soft_wrap=True).print(Text.assemble(f"{finding.subject:<12}", level, visible(finding.fact)))
    if finding.hint:
        print(f"{'':21}hint: {finding.hint}")
