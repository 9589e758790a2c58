"""Readers of CSV, TSV and plain text, which may be gzip-compressed. Memory stays flat."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from xtune.errors import DataError
from xtune.sources.limits import BLANK_LINES, ROW_BYTES, UNPACKED_FREE, UNPACKED_RATIO
from xtune.sources.row import Row, Rows, header, not_utf8, well_formed

_CHUNK = 1 << 20
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UNPACK = "unpack it, or compress it with gzip (.gz)"
_PACKED = {
    rb"\x1f\x8b": ("gzip", "add .gz to its name"),
    rb"PK\x03\x04": ("a zip archive or a workbook", "unpack it, or name it .xlsx"),
    rb"\x28\xb5\x2f\xfd": ("Zstandard", _UNPACK),
    rb"\xfd7zXZ\x00": ("xz", _UNPACK),
    rb"BZh[1-9]1A": ("bzip2", _UNPACK),
}
"""Patterns of how files begin that are no text, whatever their name says: what they are, and what to do."""


class _Unpacked(io.RawIOBase):
    """What a gzip file holds. Raises DataError where that is far more than text can be packed into its size."""

    def __init__(self, path: Path, label: str) -> None:
        self._most = max(UNPACKED_FREE, UNPACKED_RATIO * os.path.getsize(path))
        self._file = gzip.open(path)  # noqa: SIM115
        self._label = label

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        if self._file.tell() > self._most:
            raise DataError(
                f"{self._label} unpacks to more than {self._most >> 20:,} MiB, {UNPACKED_RATIO} times its size: "
                "it may be made to fill the memory",
                "if it is yours, unpack it first",
            )
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()


def open_bytes(path: Path, label: str) -> BinaryIO:
    """The file's bytes, unpacked, from after a UTF-8 byte order mark."""
    if path.suffix.lower() == ".gz":
        file: BinaryIO = io.BufferedReader(_Unpacked(path, label), _CHUNK)
    else:
        file = path.open("rb")
    try:
        start = file.read(6)
        if start.startswith(_UTF16):
            raise DataError(f"{label}: the text is not UTF-8: got UTF-16", "save the file as UTF-8")
        for pattern, (kind, hint) in _PACKED.items():
            if re.match(pattern, start):
                raise DataError(f"{label} is no text: it is {kind}", hint)
        file.seek(3 if start.startswith(codecs.BOM_UTF8) else 0)
    except BaseException:
        file.close()
        raise
    return file


def lines(file: BinaryIO, label: str) -> Iterator[tuple[str, bytes | DataError]]:
    """The lines of a file and where they are; in place of one that is too long, the DataError that says so.

    Raises DataError where next to nothing is in a million lines.
    """
    blank = 0
    read = partial(file.readline, ROW_BYTES + 1)
    for number, raw in enumerate(iter(read, b""), 1):
        where = f"{label}, line {number}"
        if len(raw) > ROW_BYTES:
            for rest in iter(read, b""):
                if rest.endswith(b"\n"):
                    break
            yield where, too_long(where)
        elif raw.isspace():
            blank = one_more_blank(blank, number, label)
        else:
            yield where, raw


def one_more_blank(blank: int, number: int, label: str) -> int:
    """One more than `blank` lines of `number` lines. Raises DataError where they are a million and nine of ten."""
    if blank >= BLANK_LINES and blank > 0.9 * number:
        raise DataError(f"{label}: nine lines of ten are blank: got more than {BLANK_LINES:,} of them", "delete them")
    return blank + 1


def too_long(where: str) -> DataError:
    return DataError(f"{where}: the row has more than {ROW_BYTES >> 20} MiB", "split it into several rows")


def read_csv(path: Path, label: str) -> Rows:
    """Rows of comma-separated values with a header; where that has no comma, of values between semicolons or tabs."""
    yield from _table(path, label, ",;\t")


def read_tsv(path: Path, label: str) -> Rows:
    """Rows of tab-separated values with a header."""
    yield from _table(path, label, "\t")


def _table(path: Path, label: str, delimiters: str) -> Rows:
    csv.field_size_limit(ROW_BYTES)  # the default refuses cells of more than 128 KiB
    with open_bytes(path, label) as binary:
        file = io.TextIOWrapper(binary, encoding="utf-8", errors="surrogateescape", newline="")
        delimiter, first = _delimiter(file, delimiters)
        # strict: else a quote that is never closed would swallow the rest of the file
        reader = csv.reader(_short_lines(file, label), delimiter=delimiter, strict=True)
        names: list[str] = []
        blank = 0
        while True:
            where = f"{label}, line {first + reader.line_num}"
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                problem = DataError(
                    f"{where}: the line is not valid CSV: got `{error!s}`",
                    "close its quotes, and double those inside a cell",
                )
                if not names:
                    raise problem from None
                yield problem
                continue
            if not cells:
                blank = one_more_blank(blank, reader.line_num, label)
                continue
            text = "".join(cells)
            if not well_formed(text):
                problem = not_utf8(where, text.encode("utf-8", "surrogateescape"))
                if not names:  # else the first row without such letters would be taken for the header
                    raise problem
                yield problem
            elif not names:
                names = header(cells, where)
            elif len(cells) != len(names):
                yield DataError(
                    f"{where}: the header has {len(names)} columns: got {len(cells)} cells",
                    f"put cells that hold {delimiter!r} in double quotes",
                )
            else:
                yield Row({name: cell for name, cell in zip(names, cells, strict=True) if name}, where)


def _delimiter(file: io.TextIOWrapper, delimiters: str) -> tuple[str, int]:
    """What stands between cells, and the number of the line that the table begins in; `file` is moved there.

    Excel's own `sep=;` says it. Else it is the first of `delimiters` that gives the first two lines as many cells, or
    that the first line has.
    """
    start = file.tell()
    first = file.readline(ROW_BYTES)
    if said := re.fullmatch(r"sep=(.)\s*", first):
        return said[1], 2
    second = file.readline(ROW_BYTES)
    file.seek(start)
    for mark in delimiters:
        widths = {_width(line, mark) for line in (first, second)}
        if len(widths) == 1 and widths != {1}:
            return mark, 1
    return next((mark for mark in delimiters if mark in first), delimiters[0]), 1


def _width(line: str, delimiter: str) -> int:
    try:
        return len(next(csv.reader([line], delimiter=delimiter), []))
    except csv.Error:
        return 0


def _short_lines(file: io.TextIOWrapper, label: str) -> Iterator[str]:
    for number, line in enumerate(iter(partial(file.readline, ROW_BYTES + 1), ""), 1):
        if len(line) > ROW_BYTES:
            raise too_long(f"{label}, line {number}")
        yield line


def read_text(path: Path, label: str) -> Rows:
    """A row {"text": line} for each line that is not blank, as `datasets` reads text. For longer pieces use jsonl."""
    with open_bytes(path, label) as file:
        for where, raw in lines(file, label):
            if isinstance(raw, DataError):
                yield raw
                continue
            try:
                text = str(raw, "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                yield not_utf8(where, raw)
                continue
            if not text.isspace():
                yield Row({"text": text}, where)
