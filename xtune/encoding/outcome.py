"""What becomes of a mapped row."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """Every row read ends with one of these, or with the error of a malformed row. From the mildest on."""

    WHOLE = "whole"
    SHORTENED = "shortened"
    TRUNCATED = "truncated"
    SPLIT = "split into pieces"
    TOO_LONG = "too long"
    NOTHING_TO_LEARN = "nothing to learn"
    EMPTY = "empty"
    DUPLICATE = "duplicate"
    LEFT_OUT = "left out by weight"

    @property
    def is_kept(self) -> bool:
        """Whether something of the row is trained on, or held out."""
        return self in KEPT


KEPT = frozenset({Outcome.WHOLE, Outcome.SHORTENED, Outcome.TRUNCATED, Outcome.SPLIT})
