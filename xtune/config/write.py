"""Plain values -> the text of a config file. Reading it back gives the same values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from keyword import iskeyword
from typing import Any

WIDTH = 120
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""A key that may be written as a name. Python would change some other letters in one (PEP 3131)."""


def dump(values: Mapping[str, Any], *, docstring: str = "", comments: Mapping[str, str] | None = None) -> str:
    """A config module: one assignment a key, in the order of `values`.

    `comments` maps keys to text, of one or more lines, that stands above them.
    """
    blocks = [f'"""{docstring}"""\n'] if docstring else []
    lines: list[str] = []
    for key, value in values.items():
        comment = (comments or {}).get(key)
        if comment:
            lines += ["", *(f"# {line}".rstrip() for line in comment.splitlines())]
        lines.append(f"{key} = {literal(value, indent=0, used=len(key) + 3)}")
    blocks.append("\n".join(lines).lstrip("\n") + "\n")
    return "\n".join(blocks)


def literal(value: Any, *, indent: int = 0, used: int = 0) -> str:
    """Python source of a value made of dicts, lists, tuples, strings, numbers, booleans and None.

    What does not fit in WIDTH columns, of which `used` are taken already, is put one item a line.
    """
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return _float(value)
    if not isinstance(value, (Mapping, list, tuple)):
        return repr(value)
    opening, closing, items = _parts(value, indent + 4)
    line = opening + ", ".join(items) + closing
    if len(line) + used + indent <= WIDTH and "\n" not in line:
        return line
    space = " " * (indent + 4)
    body = "".join(f"{space}{item},\n" for item in items)
    return f"{opening.rstrip()}\n{body}{' ' * indent}{closing.removeprefix(',')}"


def _parts(value: Mapping[str, Any] | list[Any] | tuple[Any, ...], indent: int) -> tuple[str, str, list[str]]:
    """Opening, closing and the items' source."""
    if isinstance(value, Mapping):
        plain = all(isinstance(key, str) and NAME.fullmatch(key) and not iskeyword(key) for key in value)
        names = [f"{key}=" if plain else f"{literal(key)}: " for key in value]
        items = [
            name + literal(item, indent=indent, used=len(name) + 1)
            for name, item in zip(names, value.values(), strict=True)
        ]
        return ("dict(", ")", items) if plain else ("{", "}", items)
    items = [literal(item, indent=indent, used=1) for item in value]
    if isinstance(value, tuple):
        return "(", ",)" if len(items) == 1 else ")", items
    return "[", "]", items


def _float(value: float) -> str:
    """Small numbers as 2e-4, which is how learning rates are written; others as Python writes them."""
    if not 0 < abs(value) < 0.01:
        return repr(value)
    digits, exponent = f"{Decimal(repr(value)).normalize():e}".split("e")
    return f"{digits}e{int(exponent)}"
