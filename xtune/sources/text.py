"""Readers of CSV, TSV and plain text, which may be gzip-compressed. Memory stays flat."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
from pathlib import Path
from typing import BinaryIO, cast

from xtune.errors import DataError
from xtune.sources.row import Row, Rows, header, not_utf8, well_formed

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def open_bytes(path: Path, label: str) -> BinaryIO:
    """The file's bytes, unpacked, from after a UTF-8 byte order mark."""
    file = cast(BinaryIO, gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb"))  # noqa: SIM115
    try:
        start = file.read(3)
        if start.startswith(_UTF16):
            raise DataError(f"{label}: the text is not UTF-8: got UTF-16; save the file as UTF-8")
        if start != codecs.BOM_UTF8:
            file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def read_csv(path: Path, label: str) -> Rows:
    """Rows of comma-separated values with a header; where that has no comma, of values between semicolons or tabs."""
    yield from _table(path, label, ",;\t")


def read_tsv(path: Path, label: str) -> Rows:
    """Rows of tab-separated values with a header."""
    yield from _table(path, label, "\t")


def _table(path: Path, label: str, delimiters: str) -> Rows:
    csv.field_size_limit(2**31 - 1)  # the default refuses cells of more than 128 KiB
    with open_bytes(path, label) as binary:
        file = io.TextIOWrapper(binary, encoding="utf-8", errors="surrogateescape", newline="")
        start = file.tell()
        first = file.readline()
        file.seek(start)
        delimiter = next((mark for mark in delimiters if mark in first), delimiters[0])
        # strict: else a quote that is never closed would swallow the rest of the file
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        names: list[str] = []
        while True:
            where = f"{label}, line {reader.line_num + 1}"
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                problem = DataError(f"{where}: the line is not valid CSV: got {str(error)!r}; mend its quotes")
                if not names:
                    raise problem from None
                yield problem
                continue
            if not cells:
                continue
            text = "".join(cells)
            if not well_formed(text):
                yield not_utf8(where, text.encode("utf-8", "surrogateescape"))
            elif not names:
                names = header(cells, where)
            elif len(cells) != len(names):
                yield DataError(
                    f"{where}: the header has {len(names)} columns: got {len(cells)} cells; "
                    f"put cells that hold {delimiter!r} in double quotes"
                )
            else:
                yield Row({name: cell for name, cell in zip(names, cells, strict=True) if name}, where)


def read_text(path: Path, label: str) -> Rows:
    """A row {"text": line} for each line that is not blank, as `datasets` reads text. For longer pieces use jsonl."""
    with open_bytes(path, label) as file:
        for number, raw in enumerate(file, 1):
            where = f"{label}, line {number}"
            try:
                text = str(raw, "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                yield not_utf8(where, raw)
                continue
            if text and not text.isspace():
                yield Row({"text": text}, where)
