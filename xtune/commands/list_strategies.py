"""`xtune list-strategies`: how weights are tuned and how work is spread, with every option."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from inspect import getdoc

from xtune.registries import components


def add_arguments(parser: ArgumentParser) -> None:
    del parser  # takes nothing


def run(args: Namespace) -> int:
    for name, strategy in components().strategies.items():
        print(f"{name} ({strategy.kind}): {(getdoc(strategy) or '').split(chr(10) * 2)[0]}")
        for option, field in strategy.model_fields.items():
            about = f"  {field.description}" if field.description else ""
            print(f"    {option} = {field.get_default(call_default_factory=True)!r}{about}")
    return 0
