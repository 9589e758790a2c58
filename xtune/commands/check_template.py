"""xtune check-template: a chat template beside the one that a model's tokenizer carries."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from xtune.registries import components

if TYPE_CHECKING:
    from xtune.encoding.verify import Comparison


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="hub id, local folder or GGUF file")
    parser.add_argument(
        "--template",
        metavar="NAME|FILE",
        help="registered name or .json file (default: the one stored with the model, else all registered ones)",
    )


def run(args: Namespace) -> int:
    """Exit code 2 where the ids differ."""
    from xtune.commands.console import quiet_libraries

    quiet_libraries()
    from xtune.encoding.verify import best_match, compare
    from xtune.models.load import load_tokenizer
    from xtune.models.place import local_folder
    from xtune.templates.store import find_template, load_template

    found = components()
    tokenizer = load_tokenizer(args.model)
    name = args.template
    template = find_template(name, found.templates) if name else load_template(local_folder(args.model, weights=False))
    if template is not None:
        return show(name or "stored with the model", compare(template, tokenizer))
    equal, nearest = best_match(dict(found.templates), tokenizer)
    if nearest is not None:
        return show(f"{nearest[0]} (the nearest one)", nearest[1])
    if not equal:
        print("no registered template can be written with this tokenizer")
        return 2
    print(f"equal to the tokenizer's own, id for id: {', '.join(equal)}")
    return 0


def show(name: str, comparison: Comparison) -> int:
    """Prints a comparison and returns the exit code."""
    refused = f"; {comparison.refused} are refused by the tokenizer's own" if comparison.refused else ""
    if not comparison.differences:
        print(f"template {name}: the ids of {comparison.alike} conversations equal the tokenizer's own{refused}")
        if comparison.joined:
            print(
                f"{comparison.joined} of {comparison.answers} answers begin with white space that this tokenizer joins "
                f"with the end of the prompt: that token is not trained"
            )
        return 0
    total = comparison.alike + len(comparison.differences)
    print(f"template {name}: the ids of {len(comparison.differences)} of {total} conversations differ{refused}")
    print(comparison.differences[0])
    return 2
