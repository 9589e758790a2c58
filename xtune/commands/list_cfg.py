"""`xtune list-cfg`: names of configs. Only file names are read, so it answers at once."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections import defaultdict

from xtune.catalogue.names import Name, parse
from xtune.commands.table import matches
from xtune.errors import ConfigError
from xtune.registries import components

PARTS = ("model", "tuning", "dataset")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("-p", "--pattern", help="part of a name, or a glob such as 'qwen*_full_*'")
    for part in PARTS:
        parser.add_argument(f"--{part}", metavar="NAME", help=f"only configs of this {part}; may be a glob")
    parser.add_argument("--group", choices=PARTS, nargs="?", const="model", help="group names (default: by model)")


def run(args: Namespace) -> int:
    names = [name for name in sorted(components().configs) if not args.pattern or matches(name, args.pattern)]
    filters = {part: getattr(args, part) for part in PARTS if getattr(args, part)}
    if filters or args.group:
        parsed = [name for name in map(parse, names) if name and _passes(name, filters)]
        names = [name.text for name in parsed]
    if not names:
        asked = ", ".join(value for value in [args.pattern, *filters.values()] if value)
        raise ConfigError(f"no config matches: got {asked}; see xtune list-cfg, xtune list-models")
    if args.group:
        _print_groups(parsed, args.group)
    else:
        print("\n".join(names))
    return 0


def _passes(name: Name, filters: dict[str, str]) -> bool:
    from fnmatch import fnmatchcase

    return all(fnmatchcase(getattr(name, part), pattern) for part, pattern in filters.items())


def _print_groups(names: list[Name], part: str) -> None:
    groups = defaultdict(list)
    for name in names:
        groups[getattr(name, part)].append(name.text)
    for group, members in sorted(groups.items()):
        print(f"{group} ({len(members)})")
        print("".join(f"  {member}\n" for member in members), end="")
