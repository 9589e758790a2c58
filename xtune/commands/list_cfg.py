"""`xtune list-cfg`: names of configs. None is read or composed, so it answers at once."""

from __future__ import annotations

import fnmatch
import sys
from argparse import ArgumentParser, Namespace
from collections import defaultdict

from xtune.catalogue.names import Name, parse
from xtune.catalogue.points import browsed
from xtune.commands.table import matches
from xtune.errors import ConfigError
from xtune.registries import components

PARTS = ("model", "tuning", "dataset")
GRAMMAR = (
    "{more:,} more are found by -p, --model, --tuning and --dataset; any MODEL_TUNING_DATASET_eN composes, with any "
    "number of epochs, such as qwen3_8b_lora_sql_e2"
)
"""Printed below the names that are listed where nothing is asked for."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("-p", "--pattern", help="part of a name, or a glob such as 'qwen*_full_*'")
    for part in PARTS:
        parser.add_argument(f"--{part}", metavar="NAME", help=f"only configs of this {part}; may be a glob")
    parser.add_argument("--group", choices=PARTS, nargs="?", const="model", help="group names (default: by model)")


def run(args: Namespace) -> int:
    found = components()
    configs = found.configs
    filters = {part: getattr(args, part) for part in PARTS if getattr(args, part)}
    asked = [value for value in [args.pattern, *filters.values()] if value]
    names = sorted(configs if asked else {*configs.files, *browsed(found.models)})
    if args.pattern:
        named = {args.pattern} if args.pattern in configs else set()  # with other epochs, it is not among those listed
        names = sorted(named | {name for name in names if matches(name, args.pattern)})
    if filters or args.group:
        model, tuning, dataset = (filters.get(part, "*") for part in PARTS)
        like = f"{model}_{tuning}_*{dataset}*"  # few of so many have to be read
        parsed = [name for name in map(parse, fnmatch.filter(names, like)) if name and _passes(name, filters)]
        names = [name.text for name in parsed]
    if not names:
        raise ConfigError(f"no config matches: got {', '.join(asked)}", "see xtune list-cfg, xtune list-models")
    if args.group:
        _print_groups(parsed, args.group)
    else:
        print("\n".join(names))
    if not asked:
        print(GRAMMAR.format(more=len(configs) - len(names)), file=sys.stderr)
    return 0


def _passes(name: Name, filters: dict[str, str]) -> bool:
    return all(fnmatch.fnmatchcase(getattr(name, part), pattern) for part, pattern in filters.items())


def _print_groups(names: list[Name], part: str) -> None:
    groups = defaultdict(list)
    for name in names:
        groups[getattr(name, part)].append(name.text)
    for group, members in sorted(groups.items()):
        print(f"{group} ({len(members)})")
        print("".join(f"  {member}\n" for member in members), end="")
