"""`xtune list-mappers`: dataset mappers, each with a row in and the conversation out, from its own docstring."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Any

from xtune.commands.table import matches
from xtune.errors import ConfigError
from xtune.registries import components


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("-p", "--pattern", default="", help="part of a name, or a glob")


def run(args: Namespace) -> int:
    chosen = {name: mapper for name, mapper in components().mappers.items() if matches(name, args.pattern)}
    if not chosen:
        raise ConfigError(f"no mapper matches: got `{args.pattern}`", "xtune list-mappers lists all")
    for name, mapper in chosen.items():
        print(f"{name}: {described(mapper)}\n")
    return 0


def described(mapper: Callable[..., Any]) -> str:
    """The first sentence of a mapper's docstring, its options with their defaults, and its examples."""
    from doctest import DocTestParser
    from inspect import getdoc, signature

    doc = getdoc(mapper) or "(has no docstring)"
    lines = [doc.split("\n\n")[0]]
    parameters = signature(mapper).parameters.values()
    options = [f"{p.name}={p.default!r}" for p in parameters if p.kind is p.KEYWORD_ONLY]
    if options:
        lines.append(f"    options: {', '.join(options)}")
    for example in DocTestParser().get_examples(doc):
        lines += [f"    {line}" for line in (example.source + example.want).splitlines()]
    return "\n".join(lines)
