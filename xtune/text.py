"""Text made fit for one line or for a terminal, and numbers for people."""

from __future__ import annotations

import re
from typing import Any

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tab and new line
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # change the direction of what follows
    "\u2028\u2029\ufeff\ufff9-\ufffb\ud800-\udfff]"  # line separators, byte order marks, halves of characters
)


def visible(text: str) -> str:
    r"""`text` with what a terminal would obey, or could not encode, written as an escape: `\x1b`, `\u202e`.

    New lines, tabs, every script and emoji (also joined ones) stay as they are.
    """
    return _HIDDEN.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def one_line(text: str, limit: int = 400) -> str:
    """`text` in one visible line of at most `limit` characters and an ellipsis."""
    line = " ".join(visible(text[: 20 * limit].replace("\r\n", "\n")).split())
    return line if len(line) <= limit else f"{line[:limit].rstrip()} …"


def shown(value: Any, limit: int = 80) -> str:
    """The repr of `value` in one line, whatever it is; the name of its type where it has none."""
    try:
        return one_line(repr(value), limit)
    except Exception:  # a number of 5,000 digits, nesting without end, an object of others
        return f"a value of type {type(value).__name__}"


def in_bytes(size: float) -> str:
    """A number of bytes with its unit (SI prefixes): 43.2 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
