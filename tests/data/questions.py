"""Rows with a question and an answer, and their mapper."""

from __future__ import annotations

from typing import Any

from xtune.conversation import Conversation, Turn
from xtune.errors import DataError


def question(row: dict[str, Any]) -> Conversation:
    if "q" not in row:
        raise DataError(f"column `q` is missing: got columns {', '.join(row)}; choose another mapper")
    if not row["q"]:
        return Conversation(())
    return Conversation((Turn("user", row["q"]), Turn("assistant", row["a"], row.get("learn"))))


def row(number: int, answer: str = "yes") -> dict[str, str]:
    return {"q": f"question {number}", "a": answer}
