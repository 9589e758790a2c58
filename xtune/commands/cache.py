"""xtune cache list|clear: the data that were prepared for earlier runs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from xtune.commands.table import print_table
from xtune.text import in_bytes


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=["list", "clear"], help="list: what is there; clear: delete all of it")


def run(args: Namespace) -> int:
    from xtune.data.cache import clear, data_root, entries

    root = data_root()
    if args.action == "clear":
        number, freed = clear(root)
        print(f"cleared {data_sets(number)}, {in_bytes(freed)}, from {root}")
        return 0

    found = entries(root)
    rows = [("KEY", "MADE", "SIZE", "ROWS", "TOKENS", "PACKS", "DATA")]
    for folder, size, about in found:
        report = about.get("report")
        figures = [f"{report[name]:,}" for name in ("trained", "tokens", "packs")] if report else ["unreadable", "", ""]
        key = folder.name if folder.name.endswith(".part") else folder.name[:8]
        rows.append((key, about.get("made", ""), in_bytes(size), *figures, ", ".join(about.get("data", []))))
    if found:
        print_table(rows)
    print(f"{data_sets(len(found))} in {root}, {in_bytes(sum(size for _, size, _ in found))}")
    return 0


def data_sets(number: int) -> str:
    return f"{number:,} prepared data set{'' if number == 1 else 's'}"
