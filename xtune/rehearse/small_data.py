"""Rows for a rehearsal: the first ones of data on this machine, else the examples that a mapper documents."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any

from xtune.errors import ConfigError, DataError
from xtune.mappers.examples import Example, examples
from xtune.sources.paths import file_suffix, find_files

ROWS = 24
"""Of each data entry: enough for several packs."""

Row = dict[str, Any]


def at_hand(path: str, split: str, suffixes: Collection[str]) -> bool:
    """Whether the data at `path` are files on this machine."""
    try:
        return bool(find_files(path, split, suffixes))
    except DataError:
        return False


def example_rows(name: str, mapper: Callable[..., Any], options: Mapping[str, Any]) -> list[Row]:
    """ROWS rows as `mapper` documents them, under the columns that `options` name, of different lengths.

    Raises ConfigError for a mapper without an example.
    """
    found = [renamed(example, mapper, options) for example in examples(mapper)]
    if not found:
        raise ConfigError(
            f"mapper {name} documents no row: got no example in its docstring",
            "write one there (>>> mapper({...})), or point data.path at a file",
        )
    return list(islice(various(found, lambda row: mapper(row, **options)), ROWS))


def renamed(example: Example, mapper: Callable[..., Any], options: Mapping[str, Any]) -> Row:
    """An example's row, its columns called as `options` call them."""
    own = {name: option.default for name, option in inspect.signature(mapper).parameters.items()}
    documented, wanted = {**own, **example.options}, {**own, **options}
    names = {documented[name]: wanted[name] for name in list(own)[1:] if isinstance(documented[name], str)}
    return {names.get(column) or column: value for column, value in example.row.items()}


def various(rows: list[Row], mapper: Callable[[Row], Any]) -> Iterator[Row]:
    """`rows` over and over, their texts longer and longer where the mapper still reads them so."""
    for number, row in zip(count(1), cycle(rows)):
        longer = lengthened(row, number)
        try:
            mapper(longer)
        except DataError:
            longer = row
        yield longer


def lengthened(value: Any, number: int) -> Any:
    """`value` with so many words more after every text in it that is prose, and so no name or role."""
    if isinstance(value, dict):
        return {key: lengthened(inner, number) for key, inner in value.items()}
    if isinstance(value, list):
        return [lengthened(inner, number) for inner in value]
    if not isinstance(value, str) or (" " not in value.strip() and value.isascii()):
        return value
    return " ".join([value, *map(str, range(1, number + 1))])


def write_rows(rows: list[Row], stem: Path, like: str, sheet: str | None) -> Path:
    """Writes `rows` beside `stem` in the format of the file `like`, where that is JSON or a workbook, else as JSON
    lines. Returns the file.
    """
    suffix = file_suffix(Path(like))
    if suffix == ".xlsx":
        return write_workbook(rows, stem.with_suffix(suffix), sheet)
    if suffix == ".json":
        text = json.dumps(rows, ensure_ascii=False)
    else:
        suffix, text = ".jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    file = stem.with_suffix(suffix)
    file.write_text(text, encoding="utf-8")
    return file


def write_workbook(rows: list[Row], file: Path, sheet: str | None) -> Path:
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    page = book.create_sheet(sheet)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    for values in (columns, *([row.get(column) for column in columns] for row in rows)):
        page.append(values)
    book.save(file)
    return file


def texts(value: Any) -> Iterator[str]:
    """Every text inside rows."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts(inner)
