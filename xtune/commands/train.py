"""xtune train NAME|FILE: fine-tunes a model as a config says."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from xtune import terminal
from xtune.commands.argument_types import given
from xtune.commands.config_arguments import add_config_arguments, config_from, work_dir_from
from xtune.commands.rehearse import rehearse
from xtune.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from xtune.config.schema import ComponentSettings
    from xtune.run import Run


ENDINGS = {"finished": "finished", "early stop": "stopped early, for evaluations brought no gain"}
"""Why training ended, and the line that says so; a signal has its own."""


def add_arguments(parser: ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument(
        "--work-dir", metavar="DIR", type=given, help="where the run is written (default: work_dirs/NAME)"
    )
    parser.add_argument(
        "--resume",
        metavar="DIR",
        type=given,
        nargs="?",
        const="auto",
        help="go on from a checkpoint: auto (the newest good one of the work dir) or its folder",
    )
    parser.add_argument(
        "--other-base", action="store_true", help="resume an adapter on a base model with other weights than it had"
    )
    parser.add_argument(
        "--deepspeed", metavar="NAME|JSON", type=given, help="a DeepSpeed strategy by name, or its JSON file"
    )
    parser.add_argument(
        "--launcher", choices=["none", "pytorch", "slurm"], default="none", help="who started the processes"
    )
    parser.add_argument(
        "--rehearse", action="store_true", help="run it in small, as xtune rehearse does, in place of training"
    )


def run(args: Namespace) -> int:
    """Returns 0 where the run came to its end, and 128 + the number of the signal that stopped it before."""
    from xtune.dist.interrupts import StopNow, Stopped, handlers
    from xtune.dist.launch import listens

    try:
        with handlers(StopNow()):
            listens()
            return _run(args)
    except Stopped as stopped:
        return stopped.code


def _run(args: Namespace) -> int:
    from xtune.commands.console import quiet_libraries
    from xtune.dist.interrupts import exit_code
    from xtune.dist.launch import start
    from xtune.dist.started_by import check_launcher, processes_wanted, rank_environment
    from xtune.resolve import resolve

    check_launcher(args.launcher)
    config = config_from(args)
    if args.deepspeed:
        config = config.model_copy(update={"distributed": deepspeed_from(args.deepspeed)})
    if args.rehearse:
        return rehearse(config)
    run = resolve(config)
    run.refuse_absent()
    if processes := processes_wanted():  # what is wrong so far was reported once, before they start
        return start([sys.executable, "-m", "xtune", *sys.argv[1:]], processes)
    from xtune.training.train import train_resolved

    quiet_libraries()
    work_dir = work_dir_from(args)
    check(run, work_dir)
    result = train_resolved(run, work_dir, resume=args.resume, other_base=args.other_base)
    if rank_environment().get("RANK", "0") == "0":
        with terminal.readers_may_leave():
            ending = ENDINGS.get(result.reason, f"stopped by {result.reason}, go on with --resume")
            print(f"{ending}: {result.checkpoint}")
            if (report := work_dir / "report.html").exists():
                print(f"report: {report}")
    return exit_code(result.reason)


def check(run: Run, work_dir: Path) -> None:
    """What `xtune check` does without reading the data. Raises ConfigError where training must not start."""
    from itertools import chain

    from xtune.check.model import of_model
    from xtune.check.settings import of_settings
    from xtune.commands.check import show
    from xtune.dist.started_by import rank_environment, ranks_wanted

    for finding in chain(of_settings(run, work_dir, ranks_wanted()), of_model(run)):
        if finding.level == "error":
            raise ConfigError(f"{finding.subject}: {finding.fact}", finding.hint)
        if rank_environment().get("RANK", "0") == "0":
            with terminal.readers_may_leave():
                show(finding)


def deepspeed_from(name_or_file: str) -> ComponentSettings:
    """The strategy that --deepspeed asks for: a name, or a JSON file of DeepSpeed."""
    from xtune.config.schema import ComponentSettings

    if name_or_file.endswith(".json"):
        return ComponentSettings(name="deepspeed", file=name_or_file)  # type: ignore[call-arg]
    return ComponentSettings(name=name_or_file)
