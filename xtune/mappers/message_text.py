"""The text of one message: its content, whether text or parts of it, and the reasoning before an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xtune.errors import DataError
from xtune.mappers.columns import as_text, blank, describe

_KEYS = ("content", "value", "text")
"""What data call the text of a message."""

REASONING = ("reasoning_content", "reasoning", "thinking")
"""What data call the reasoning before an answer."""


def text_of(message: Mapping[str, Any], key: str, where: str) -> str:
    """The text under `key`; text parts stand on lines of their own. None is empty, a key that is not there is refused.

    Raises DataError, also where nothing is under `key` and text is under another one that data use for it: tables
    fill up keys that a row does not have.
    """
    content = message.get(key)
    if type(content) is str and content and content.isascii() and "\0" not in content:
        return content
    if isinstance(content, list):
        return "\n".join(_part(part, where) for part in content)
    if key not in message or (not content and any(message.get(other) for other in _KEYS)):
        there = ", ".join(repr(str(name)) for name, value in message.items() if value not in (None, ""))
        raise DataError(
            f"column `{where}` has no text under `{key}`: got keys {there[:300] or 'none'}",
            f"write the text under {key}",
        )
    return as_text(content, where)


def _part(part: Any, where: str) -> str:
    if not isinstance(part, dict) or part.get("type") != "text":
        raise DataError(f"column `{where}` should be text parts: got {describe(part)}", "xtune trains on text only")
    return text_of(part, "text", where)


def with_reasoning(reasoning: Mapping[str, Any], answer: str, where: str) -> str:
    """The answer with its reasoning before it, between <think> and </think>, as templates with `thinking` read it.

    `reasoning` is what a message has under names of REASONING. Raises DataError where they differ, and where reasoning
    or answer has these tags already: it would not be clear where the answer begins.
    """
    thoughts = {name: as_text(value, f"{where}, {name}") for name, value in reasoning.items()}
    name, thought = next(iter(thoughts.items()))
    if any(other != thought for other in thoughts.values()):
        raise DataError(f"column `{where}` has several reasonings, which differ: got {', '.join(thoughts)}", "keep one")
    if blank(thought):
        return answer
    for text in (thought, answer):
        if "<think>" in text or "</think>" in text:
            raise DataError(
                f"column `{where}` has {name} and <think> or </think> in its text: got {describe(text)}",
                f"keep the reasoning in one of them, without the tags in {name}",
            )
    return f"<think>\n{thought}\n</think>\n\n{answer}"
