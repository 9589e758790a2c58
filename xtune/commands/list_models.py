"""`xtune list-models`: the base models that configs name."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from xtune.commands.table import matches, print_table
from xtune.errors import ConfigError
from xtune.registries import components


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("-p", "--pattern", default="", help="part of a name, or a glob")
    parser.add_argument("--family", metavar="NAME", help="only models of this family")


def run(args: Namespace) -> int:
    rows = [
        (name, size(spec.parameters), tokens(spec.context), spec.template, spec.family, spec.licence, spec.path)
        for name, spec in components().models.items()
        if matches(name, args.pattern) and args.family in (None, spec.family)
    ]
    if not rows:
        raise ConfigError(f"no model matches: got `{args.pattern or args.family}`", "xtune list-models lists all")
    print_table([("NAME", "SIZE", "CONTEXT", "TEMPLATE", "FAMILY", "LICENCE", "PATH"), *rows])
    return 0


def size(parameters: int) -> str:
    """A number of parameters to three digits: 135M, 1.71B, 70.6B."""
    if parameters < 10**9:
        return f"{parameters / 10**6:.0f}M"
    billions = parameters / 10**9
    return f"{billions:.2f}B" if billions < 10 else f"{billions:.1f}B" if billions < 100 else f"{billions:.0f}B"


def tokens(context: int) -> str:
    """A length in tokens: 2048 -> 2K; a round thousand as it is: 200000 -> 200k."""
    return f"{context // 1024}K" if context % 1024 == 0 else f"{context / 1000:g}k"
