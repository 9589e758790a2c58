"""`xtune list-strategies`: how weights are tuned and how work is distributed, with every option."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from inspect import getdoc
from typing import Any

from xtune.registries import components


def add_arguments(parser: ArgumentParser) -> None:
    del parser  # takes nothing


def run(args: Namespace) -> int:
    print_options({f"{name} ({strategy.kind})": strategy for name, strategy in components().strategies.items()})
    return 0


def print_options(titled: Mapping[str, Any]) -> None:
    """What each component is, in a line, and its options."""
    for title, component in titled.items():
        print(f"{title}: {(getdoc(component) or '').split(chr(10) * 2)[0]}")
        for option, field in getattr(component, "model_fields", {}).items():  # a function has none
            about = f"  {field.description}" if field.description else ""
            print(f"    {option} = {field.get_default(call_default_factory=True)!r}{about}")
