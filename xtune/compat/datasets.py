"""datasets: what identifies the rows of a data set."""

from __future__ import annotations

from typing import Any


def fingerprint(dataset: Any) -> str:
    """Text that is the same for the same rows in every process, and another one for other rows."""
    return str(dataset._fingerprint)
