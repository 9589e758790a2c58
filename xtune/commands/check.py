"""xtune check NAME|FILE: all that can be known before training begins; exit code 2 where it must not start."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from xtune.commands.config_arguments import add_config_arguments, config_from

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xtune.preflight.check import Finding

STYLES = {"ok": "green", "warning": "yellow", "error": "bold red", "unknown": "dim"}


def add_arguments(parser: ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument("--work-dir", metavar="DIR", help="where the run would be written (default: work_dirs/NAME)")


def run(args: Namespace) -> int:
    from itertools import chain
    from pathlib import Path

    from xtune.commands.console import quiet_libraries
    from xtune.engine.launch import ranks_wanted
    from xtune.preflight.check import before_data, with_data
    from xtune.resolve import resolve

    quiet_libraries()
    found = resolve(config_from(args))
    work_dir = Path(args.work_dir or Path("work_dirs", Path(args.config).stem))
    ranks = ranks_wanted()
    errors = show(chain(before_data(found, work_dir, ranks), with_data(found, ranks)))
    if errors:
        print(f"\nnot ready to train: {errors} thing{'s' if errors > 1 else ''} to mend")
        return 2
    print("\nready to train")
    return 0


def show(findings: Iterable[Finding]) -> int:
    """Prints each finding as it comes, and returns how many of them forbid to start."""
    from rich.console import Console
    from rich.text import Text

    console, errors = Console(highlight=False), 0
    for subject, level, told in findings:
        errors += level == "error"
        label = Text.assemble(f"{subject:<10}", (f"{level:<9}", STYLES[level]))
        console.print(Text.assemble(label, told), soft_wrap=True)
    return errors
