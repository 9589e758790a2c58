"""What the value of an argument has to be, checked while the command line is parsed."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import TypeVar

Number = TypeVar("Number", int, float)

LARGEST_SEED = 2**32 - 1
"""What numpy takes; torch takes more."""


def given(text: str) -> str:
    """Some text. An empty one is most often a shell variable that is not set."""
    if not text.strip():
        raise ArgumentTypeError("should not be empty: got ''")
    return text


def within(low: Number, high: float = math.inf) -> Callable[[str], Number]:
    """A number from `low` to `high`, whole where `low` is."""
    kind = type(low)
    wanted = f"a {'whole ' if kind is int else ''}number"
    limits = f"from {low:,} to {high:,}" if high < math.inf else f"of at least {low:,}"

    def parse(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            value = kind(low - 1)
        if not low <= value <= high or value == math.inf:
            raise ArgumentTypeError(f"should be {wanted} {limits}: got `{text}`")
        return value

    return parse
