"""Plain values: what a config may hold, within limits that no real config comes near."""

from __future__ import annotations

import math
from typing import Any

from xtune.text import one_line, shown

MAX_DEPTH = 30
MAX_VALUES = 100_000
MAX_BITS = 256
"""Of a whole number."""


def plain(value: Any, key: str = "") -> Any:
    """A copy of `value`, made of dicts with text keys, lists, tuples, text, numbers, True, False and None.

    Raises ValueError, which names the key, for anything else, for text that cannot be encoded, and beyond the limits:
    names that stand for each other may hide billions of values in a few lines.
    """
    return _copy(value, key, 0, [MAX_VALUES])


def _copy(value: Any, key: str, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if left[0] < 0:
        raise ValueError(f"it has more than {MAX_VALUES:,} values")
    if depth > MAX_DEPTH:
        raise ValueError(f"`{one_line(key, 40)}` is nested more than {MAX_DEPTH} deep")
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return _text(value, key)
    if kind is int and value.bit_length() <= MAX_BITS:
        return value
    if kind is float and math.isfinite(value):
        return value
    if kind is dict:
        return {_name(k, key): _copy(v, f"{key}.{k}" if key else str(k), depth + 1, left) for k, v in value.items()}
    if kind in (list, tuple):
        return kind(_copy(item, f"{key}.{number}", depth + 1, left) for number, item in enumerate(value))
    wrong = "too large" if kind is int else "not finite" if kind is float else f"of type {kind.__name__}"
    got = "" if kind is int else f", got {shown(value)}"
    raise ValueError(f"`{one_line(key, 80)}` should be a plain value, but it is {wrong}{got}")


def _name(name: Any, key: str) -> str:
    if type(name) is not str:
        raise ValueError(f"a key in `{one_line(key, 80)}` should be text: got {shown(name)}")
    return _text(name, key)


def _text(text: str, key: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"`{one_line(key, 80)}` holds half of a character: got {shown(text)}") from None
    return text
