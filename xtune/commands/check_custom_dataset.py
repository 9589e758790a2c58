"""xtune check-custom-dataset: every row of a data file through its mapper, without a model."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xtune.errors import DataError

if TYPE_CHECKING:
    from xtune.sources.source import Source

SHOWN = 10
GIVE_UP = 100_000  # rows without one that is good: none will be


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="data file, folder, glob, package:MODULE/FILE or hub id")
    parser.add_argument("--mapper", default="auto", metavar="NAME", help="default: recognised by the columns")
    parser.add_argument(
        "--options",
        metavar="KEY=VALUE",
        nargs="+",
        default=[],
        help="options of the mapper, such as question=问题 answer=回答",
    )
    parser.add_argument("--sheet", help="sheet of a workbook (default: the first)")
    parser.add_argument("--split", default="train", help="split of a hub data set or a folder (default: train)")
    parser.add_argument("--subset", help="configuration of a hub data set")
    parser.add_argument("--limit", type=int, metavar="N", help="check only the first N rows")


@dataclass
class Checked:
    """What became of the rows: those that gave a conversation are counted, of the others the lines to print are kept.

    Only the first SHOWN lines of each kind are kept; `empty` and `bad` count all. `unread` are keys that nothing reads,
    and the first row of each. `pairs` of the good ones are
    preference pairs.
    """

    good: int = 0
    pairs: int = 0
    empty: int = 0
    bad: int = 0
    unread: dict[str, str] = field(default_factory=dict)
    empty_rows: list[str] = field(default_factory=list)
    bad_rows: list[str] = field(default_factory=list)

    def add(self, found: Any, where: str) -> None:
        """Counts what a row gave: a conversation, a preference, or the error that says why there is none."""
        if isinstance(found, DataError):
            self.bad += 1
            self.bad_rows += [f"{where}: {found}" if where else str(found)][: SHOWN - len(self.bad_rows)]
        elif getattr(found, "chosen", found).turns:
            self.good += 1
            self.pairs += hasattr(found, "chosen")
            self.unread |= {name: where for part in found.parts for name in part.unread if name not in self.unread}
        else:
            self.empty += 1
            self.empty_rows += [where][: SHOWN - len(self.empty_rows)]


def run(args: Namespace) -> int:
    from xtune.commands.table import print_table
    from xtune.config.override import parse_overrides
    from xtune.mappers.bind import bind_mapper, recognise
    from xtune.registries import components
    from xtune.sources.source import open_source

    if args.limit is not None and args.limit < 1:
        raise DataError(f"--limit should be at least 1: got `{args.limit}`", "leave it out to check all rows")
    found = components()
    source = open_source(
        args.file, split=args.split, subset=args.subset, sheet=args.sheet, limit=args.limit, readers=found.sources
    )
    name = recognise(source) if args.mapper == "auto" else args.mapper
    checked = check(source, bind_mapper(name, parse_overrides(args.options), found.mappers))
    print(f"{source.name}: mapper {name}{', by its columns' if args.mapper == 'auto' else ''}")
    print_table(
        [
            ("rows", str(checked.good + checked.empty + checked.bad)),
            ("conversations", str(checked.good)),
            ("empty", str(checked.empty)),
            ("bad", str(checked.bad)),
        ]
    )
    if checked.pairs:
        print(pairs_for({name: found.objectives[name] for name in found.objectives}))
    if checked.unread:
        print("keys not read: " + ", ".join(f"{name} ({where})" for name, where in sorted(checked.unread.items())))
    if not checked.good:
        which = f"none of the first {GIVE_UP:,} rows" if checked.bad + checked.empty == GIVE_UP else "no row"
        print(f"{which} gives a conversation: choose another --mapper, or name the columns with --options")
    for kind, number, lines in (
        ("without a question or an answer, left out", checked.empty, checked.empty_rows),
        ("bad", checked.bad, checked.bad_rows),
    ):
        if number:
            print(f"{kind}{f', the first {SHOWN}' if number > SHOWN else ''}:")
            print("\n".join(f"  {line}" for line in lines))
    return 0 if checked.good and not checked.bad else 2


def pairs_for(objectives: dict[str, Any]) -> str:
    """What preference pairs are good for, by the objectives that take them and those that take conversations."""
    from xtune.conversation import Preference

    takers = [name for name, objective in objectives.items() if objective.takes is Preference]
    others = [name for name in objectives if name not in takers]
    return (
        f"these are preference pairs, for objective.name={' or '.join(takers)}; "
        f"for {' or '.join(others)} add take=chosen to --options, and to the mapper's options in the config"
    )


def check(source: Source, mapper: Callable[..., Any]) -> Checked:
    """Every row of `source` through `mapper`. Where a file cannot be read on, that is its last bad row."""
    from xtune.data.feed import mapped

    checked = Checked()
    try:
        for row in source.read():
            if isinstance(row, DataError):
                checked.add(row, "")
            else:
                checked.add(mapped(mapper, row.values), row.where)
            if not checked.good and checked.bad + checked.empty == GIVE_UP:
                break
    except DataError as error:
        checked.add(error, "")
    return checked
