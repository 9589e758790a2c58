"""What a check finds."""

from __future__ import annotations

from typing import Literal, NamedTuple

from xtune.errors import XtuneError

Level = Literal["ok", "warning", "error", "unknown"]


class Finding(NamedTuple):
    """`fact` is one line. `hint` is what to do, where that is not "ok"."""

    subject: str
    level: Level
    fact: str
    hint: str = ""


def refused(subject: str, error: XtuneError, level: Level = "error") -> Finding:
    """The finding of what a run would be refused for."""
    return Finding(subject, level, error.fact, error.hint)
