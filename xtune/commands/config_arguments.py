"""The arguments of every command that takes a config: which one, and what the command line changes in it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtune.commands.argument_types import LARGEST_SEED, given, within
from xtune.errors import ConfigError

if TYPE_CHECKING:
    from xtune.config.schema import Config, DataSettings


FILE_HELP = "a config's name (xtune list-cfg), or a .py, .yaml or .json file"


def add_config_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("config", metavar="NAME|FILE", help=FILE_HELP)
    parser.add_argument(
        "--model", metavar="PATH", type=given, help="model folder, GGUF file or hub id, in place of the config's"
    )
    parser.add_argument(
        "--data", metavar="PATH", type=given, nargs="+", help="files, folders or globs, in place of the config's"
    )
    parser.add_argument(
        "--mapper", metavar="NAME|MODULE:FUNCTION", type=given, help="mapper of --data, in place of the config's"
    )
    parser.add_argument(
        "--template", metavar="NAME|FILE", type=given, help="chat template by name, or a .json file of your own"
    )
    parser.add_argument(
        "--seed", metavar="N", type=within(0, LARGEST_SEED), help="seed of data order, dropout and initial adapters"
    )
    parser.add_argument(
        "--cfg-options",
        metavar="KEY=VALUE",
        nargs="+",
        default=[],
        help="settings to change, such as optimizer.lr=1e-4 data.0.limit=100",
    )
    add_trust_argument(parser)


def add_trust_argument(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--trust-config", action="store_true", help="run a config FILE that has code as Python: only one you trust"
    )


def config_from(args: Namespace) -> Config:
    """The config that the arguments ask for, validated. --cfg-options win over the other flags."""
    from xtune.config.override import parse_overrides
    from xtune.names import overridden, read_config

    values, where = read_config(args.config, trust_config=args.trust_config)
    overrides: dict[str, Any] = {}
    if args.model:
        overrides["model.path"] = args.model
    if args.data:
        overrides["data"] = replaced(overridden(values, where, {}).data, args.data, args.mapper)
    elif args.mapper:
        raise ConfigError(f"--mapper goes with --data: got only --mapper {args.mapper}", "or set data.0.mapper")
    if args.template:
        overrides["template"] = args.template
    if args.seed is not None:
        overrides["seed"] = args.seed
    return overridden(values, where, {**overrides, **parse_overrides(args.cfg_options)})


def work_dir_from(args: Namespace) -> Path:
    """The folder of a run: --work-dir, or work_dirs/ and the config's name."""
    return Path(args.work_dir or Path("work_dirs", Path(args.config).stem))


def replaced(entries: list[DataSettings], paths: list[str], mapper: str | None) -> list[dict[str, Any]]:
    """The config's data entries with other paths: one entry a path, or the only entry for every path.

    What described the old file (subset, split, sheet, limit) goes; the mapper, its options and the rest stay.
    """
    if len(paths) != len(entries) and len(entries) != 1:
        first = entries[0]
        if not mapper and any((e.mapper, e.options) != (first.mapper, first.options) for e in entries):
            raise ConfigError(
                f"the config has {len(entries)} data entries with different mappers: got {len(paths)} in their place",
                f"give {len(entries)}, or say --mapper",
            )
        entries = [first]
    if len(entries) == 1:
        entries = entries * len(paths)
    result = []
    for entry, path in zip(entries, paths, strict=True):
        values = entry.model_dump(exclude={"subset", "split", "sheet", "limit"})
        if mapper:
            values |= {"mapper": mapper, "options": {}}
        result.append(values | {"path": path})
    return result
