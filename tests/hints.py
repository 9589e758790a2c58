"""What a command printed, each hint put back onto the line of its fact."""

from __future__ import annotations

import re


def joined(printed: str) -> str:
    """`fact; hint` in place of `fact` and `hint: hint` below it, as an error's own text has them."""
    return re.sub(r"\n *hint: ", "; ", printed)
