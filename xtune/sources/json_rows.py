"""Readers of JSON arrays and JSON lines, which may be gzip-compressed. Memory stays flat."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any, BinaryIO, cast

from xtune.errors import DataError
from xtune.foreign import reason
from xtune.sources.limits import ROW_BYTES
from xtune.sources.row import Row, Rows, not_utf8, well_formed
from xtune.sources.text import lines, open_bytes, too_long
from xtune.text import shown

_CHUNK = 1 << 20
_TAIL = 12  # a literal, number or escape that the end of the buffer splits is shorter than this
_WHITE = re.compile(r"[ \t\n\r]*")


def read_json(path: Path, label: str) -> Rows:
    """Rows of a JSON array of objects, or of one object a line, whatever the suffix says."""
    with open_bytes(path, label) as file:
        start = file.tell()
        head = b""
        while not head.strip() and (head := file.read(64)):
            pass
        file.seek(start)
        if head.lstrip().startswith(b"["):
            yield from _array(file, label)
            return
        rows = _lines(file, label)
        first = next(rows, None)
        if isinstance(first, DataError):
            _complain_of_one_object(path, label)
        if first is not None:
            yield first
            yield from rows


def _lines(file: BinaryIO, label: str) -> Rows:
    loads = json.loads
    for where, raw in lines(file, label):
        if isinstance(raw, DataError):
            yield raw
            continue
        try:
            values = loads(str(raw, "utf-8"))
        except UnicodeDecodeError:
            yield not_utf8(where, raw)
        except (ValueError, RecursionError) as error:
            yield _broken(where, error)
        else:
            yield Row(values, where) if type(values) is dict else _no_object(where, values)


def _complain_of_one_object(path: Path, label: str) -> None:
    """Raises DataError where a file, whose first line is no row, is a JSON object that goes over several lines."""
    with open_bytes(path, label) as file:
        text = file.read(ROW_BYTES).decode("utf-8", "replace").lstrip()
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return
    if type(value) is dict and "\n" in text[:end].strip():
        lists = [shown(key) for key, inner in value.items() if type(inner) is list]
        advice = f"write only what is under {lists[0]}" if lists else "write one object a line, or an array of them"
        raise DataError(f"{label}: one object goes over several lines: got keys {shown(list(value), 200)}", advice)


def _array(file: BinaryIO, label: str) -> Rows:
    array = _ArrayReader(file)
    array.next_mark()
    array.position += 1
    number = 0
    while (mark := array.next_mark()) != "]":
        if number:
            if mark != ",":
                got = f"`{mark}`" if mark else "the end of the file"
                raise DataError(
                    f"{label}, after row {number}: expected a comma or the array's end: got {got}",
                    "write a comma between objects and ] at the end",
                )
            array.position += 1
            array.next_mark()
        number += 1
        where = f"{label}, row {number}"
        try:
            values, text = array.next_value()
        except _TooLong:
            raise too_long(where) from None
        except (ValueError, RecursionError) as error:
            raise _broken(where, error) from None
        if not well_formed(text):
            yield not_utf8(where, text.encode("utf-8", "surrogateescape"))
        else:
            yield Row(values, where) if type(values) is dict else _no_object(where, values)
    array.position += 1
    if mark := array.next_mark():
        raise DataError(f"{label}: text follows the end of the array: got `{mark}`", "make the file one array")


class _TooLong(Exception):
    """A value has more than ROW_BYTES."""


class _ArrayReader:
    """Decodes JSON values one by one from a buffer that holds little more than the value at hand.

    Bytes that are not UTF-8 become lone surrogates, so that they spoil one row and not the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.position = 0
        self._file = file
        self._text = ""
        self._clean = True
        self._utf8 = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._decode = json.JSONDecoder().raw_decode

    def next_mark(self) -> str:
        """The first character that is not white space; `position` moves there. Empty at the end of the file."""
        while True:
            self.position = cast("re.Match[str]", _WHITE.match(self._text, self.position)).end()
            if self.position < len(self._text):
                return self._text[self.position]
            if not self._read_on():
                return ""

    def next_value(self) -> tuple[Any, str]:
        """The value at `position`, and its text where that may not be well formed."""
        while True:
            try:
                value, end = self._decode(self._text, self.position)
                break
            except json.JSONDecodeError as error:
                if len(self._text) - self.position > ROW_BYTES:
                    raise _TooLong from None
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - _TAIL
                if not (cut and self._read_on()):
                    raise
        text = "" if self._clean else self._text[self.position : end]
        self.position = end
        return value, text

    def _read_on(self) -> bool:
        """Drops what is behind `position` and reads as much again as is left, so a huge value costs linear time."""
        rest = self._text[self.position :]
        raw = self._file.read(max(_CHUNK, len(rest)))
        new = self._utf8.decode(raw, final=not raw)
        self._clean = self._clean and well_formed(new)
        self._text, self.position = rest + new, 0
        return bool(raw)


def _broken(where: str, error: Exception) -> DataError:
    if isinstance(error, RecursionError):
        return DataError(f"{where}: the row is nested too deep", "write what is inside as text")
    if not isinstance(error, json.JSONDecodeError):
        return DataError(f"{where}: a number has too many digits: got `{reason(error)}`", "write it as text")
    return DataError(
        f"{where}: the JSON is broken or truncated: got `{error.msg}`",
        "the file should be an array of objects or have one object a line",
    )


def _no_object(where: str, value: Any) -> DataError:
    return DataError(f"{where}: a row should be a JSON object: got {_JSON_NAMES[type(value)]}", "name its columns")


_JSON_NAMES = {
    list: "a list", str: "a string", int: "a number", float: "a number", bool: "true or false", type(None): "null"
}  # fmt: skip
