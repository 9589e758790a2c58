"""Reader of Excel workbooks. Memory stays flat."""

from __future__ import annotations

import datetime
import zipfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from xtune.errors import DataError, suggestion
from xtune.sources.limits import SHEET_EMPTY, SHEET_ROWS, UNPACKED_FREE, UNPACKED_RATIO
from xtune.sources.row import Row, Rows, header
from xtune.text import one_line, shown

_FORMULA_ERRORS = {"#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A", "#SPILL!", "#CALC!"}


def read_workbook(path: Path, label: str, sheet: str | None = None) -> Rows:
    """Rows of one sheet (default: the first); its first row that is not empty is the header.

    Cells are text, see `cell_text`. A formula counts as the value that was last computed and
    saved. Of merged cells the first has the value, the others are empty. Rows without any value are passed over.
    """
    import openpyxl

    _check_size(path, label)
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # a damaged workbook makes openpyxl, zipfile and expat raise many things
        raise DataError(
            f"{label} is not a readable .xlsx workbook: got {type(error).__name__}: {one_line(str(error))}",
            "open it in a spreadsheet program and save it as .xlsx, without a password",
        ) from error
    try:
        pages = {page.title: page for page in book.worksheets}
        name = next(iter(pages)) if sheet is None and pages else sheet or ""
        if name not in pages:
            raise DataError(f"{label} has no such sheet: got `{name}`", suggestion(name, pages))
        page = pages[name]
        page.reset_dimensions()  # programs write a wrong size, by which openpyxl would drop rows
        yield from _sheet_rows(page, f"{label}, sheet {name}", [other for other in pages if other != name])
    finally:
        book.close()


def _check_size(path: Path, label: str) -> None:
    """Raises DataError for a workbook with a part that is packed too tightly for a real one."""
    try:
        with zipfile.ZipFile(path) as book:
            parts = book.infolist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return  # openpyxl meets the same, and it is reported there
    for part in parts:
        if part.file_size > max(UNPACKED_FREE, UNPACKED_RATIO * part.compress_size):
            raise DataError(
                f"{label} unpacks to more than {UNPACKED_RATIO} times its size: got {part.file_size >> 20:,} MiB "
                f"in {shown(part.filename)}, which may be made to fill the memory",
                "if it is yours, save it as .csv",
            )


def _sheet_rows(page: Any, where: str, others: list[str]) -> Rows:
    names: list[str] = []
    top = 0
    for number, values in _numbered(page, where):
        if values.count(None) == len(values):
            continue
        texts = [cell_text(value) for value in values]
        if not names:
            names, top = header([text or "" for text in texts], f"{where}, row {number}"), number
        elif any(texts[len(names) :]):
            yield DataError(
                f"{where}, row {number}: the header has {len(names)} columns: got {len(texts)} cells",
                f"name each column (row {top} was taken for the header)",
            )
        else:
            texts += [None] * (len(names) - len(texts))
            yield Row({name: text for name, text in zip(names, texts, strict=False) if name}, f"{where}, row {number}")
    if not names:
        there = f" ({', '.join(others)})" if others else ""
        raise DataError(f"{where} is empty", f"choose another sheet{there}, or write column names and rows into it")


def _numbered(page: Any, where: str) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """The rows of a sheet and their numbers. Raises DataError for too many, and for too many empty cells."""
    rows = page.iter_rows(values_only=True)
    empty = 0
    for number in count(1):
        try:
            values = next(rows)
        except StopIteration:
            return
        except Exception as error:  # the sheet's XML is parsed on the way, see above
            raise DataError(
                f"{where} is damaged: got {type(error).__name__}: {one_line(str(error))}", "save it again"
            ) from error
        empty += values.count(None)
        if number > SHEET_ROWS or empty > SHEET_EMPTY:
            raise DataError(
                f"{where} has more than {SHEET_ROWS:,} rows or {SHEET_EMPTY:,} empty cells",
                "delete what stands far below or right of the table, or save it as .csv",
            )
        yield number, values


def cell_text(value: Any) -> str | None:
    """A cell's value as text; None for an empty cell and for a formula that failed, such as #DIV/0!.

    It is what Excel shows in a cell that no number format was chosen for: 50% is 0.5, and 007 as a number is 7.
    Fractions have up to 15 digits; dates are written as 2026-03-31 or 2026-03-31 14:30:00 and times as 14:30:00.
    Characters that XML cannot hold are saved as escapes such as _x000D_, a carriage return, and read as themselves.
    """
    from openpyxl.utils.escape import unescape  # load_workbook leaves this to its callers

    if type(value) is str:
        return None if value in _FORMULA_ERRORS else str(unescape(value))
    if value is None:
        return None
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return f"{value:.15g}"
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value)
