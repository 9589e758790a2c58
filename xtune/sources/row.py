"""One row of data and where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from xtune.errors import DataError


class Row(NamedTuple):
    """Column names to values, and the place a person would look it up: "medicine.xlsx, sheet Main, row 12"."""

    values: dict[str, Any]
    where: str


Rows = Iterator[Row | DataError]
"""What a reader yields: rows in file order; in the place of a row that cannot be read, the DataError that says why.

What makes the whole file unreadable is raised instead.
"""


def well_formed(text: str) -> bool:
    """Whether `text` can be written as UTF-8: no half of a surrogate pair is in it, and no byte escaped as one."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def not_utf8(where: str, raw: bytes) -> DataError:
    """The error for bytes that are not UTF-8; says so where they read as GB18030, which Chinese Excel writes."""
    try:
        raw.decode()
        byte = 0
    except UnicodeDecodeError as error:
        byte = raw[error.start]
    try:
        raw.decode("gb18030")
        guess = " (it may be GB18030)"
    except UnicodeDecodeError:
        guess = ""
    return DataError(f"{where}: the text is not UTF-8{guess}: got byte 0x{byte:02x}", "save the file as UTF-8")


def header(cells: list[str], where: str) -> list[str]:
    """Column names of a table: the cells without white space around them. A column may be nameless: it is left out.

    Raises DataError where no cell has a name, or two have the same.
    """
    names = [cell.strip() for cell in cells]
    if not any(names):
        raise DataError(f"{where}: the header is empty", "write the column names into the first row")
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(f"{where}: two columns have the same name: got `{name}` twice", "give each its own name")
        if name:
            seen.add(name)
    return names
