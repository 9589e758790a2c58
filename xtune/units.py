"""Numbers for people."""

from __future__ import annotations


def in_bytes(size: float) -> str:
    """A number of bytes with its unit (SI prefixes): 43.2 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
