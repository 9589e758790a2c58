"""xtune train NAME|FILE: fine-tunes a model as a config says."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from xtune.commands.config_arguments import add_config_arguments, config_from


def add_arguments(parser: ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument("--work-dir", metavar="DIR", help="where the run is written (default: work_dirs/NAME)")
    parser.add_argument(
        "--resume",
        metavar="DIR",
        nargs="?",
        const="auto",
        help="go on from a checkpoint: auto (the newest good one of the work dir) or its folder",
    )
    parser.add_argument("--deepspeed", metavar="NAME|JSON", help="a DeepSpeed strategy by name, or its JSON file")
    parser.add_argument(
        "--launcher", choices=["none", "pytorch", "slurm"], default="none", help="who started the processes"
    )


def run(args: Namespace) -> int:
    from pathlib import Path

    from xtune.commands.console import quiet_libraries
    from xtune.engine.train import train

    quiet_libraries()
    config = config_from(args)
    train(config, args.work_dir or Path("work_dirs", Path(args.config).stem), resume=args.resume)
    return 0
