"""Where rows come from: hub data sets and local files, each read by the reader of its suffix."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import signature
from itertools import islice
from pathlib import Path
from typing import Any

from xtune.compat.datasets import fingerprint as fingerprint_of
from xtune.errors import DataError
from xtune.foreign import foreign, reason
from xtune.sources.json_rows import read_json
from xtune.sources.parquet import arrow_rows, read_parquet
from xtune.sources.paths import file_suffix, find_files, hub_id
from xtune.sources.row import Row, Rows
from xtune.sources.table import read_workbook
from xtune.sources.text import read_csv, read_text, read_tsv
from xtune.text import one_line, visible

Reader = Callable[..., Rows]
"""reader(file, label) gives the rows of a file, which messages call `label`. One with an option `sheet` reads one of
several tables in a file.
"""

READERS: dict[str, Reader] = {
    ".json": read_json, ".jsonl": read_json, ".ndjson": read_json, ".csv": read_csv, ".tsv": read_tsv,
    ".txt": read_text, ".parquet": read_parquet, ".xlsx": read_workbook, ".xlsm": read_workbook,
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Rows that can be read again and again, from the start, with memory that does not grow with their number.

    `files` are the local files in reading order; a hub set has none. Their content identifies the data, together with
    `readers`, what reads them, and `fingerprint`: all else that decides the rows. Iterating gives Rows and raises
    DataError at the first row that cannot be read; `read()` gives that DataError in the row's place and goes on, where
    the format allows it.
    """

    name: str
    files: list[Path]
    fingerprint: str
    read: Callable[[], Rows]
    readers: tuple[Reader, ...] = ()

    def __iter__(self) -> Iterator[Row]:
        for row in self.read():
            if isinstance(row, DataError):
                raise row
            yield row


def open_source(
    path: str | Path,
    *,
    split: str = "train",
    subset: str | None = None,
    sheet: str | None = None,
    limit: int | None = None,
    readers: Mapping[str, Reader] = READERS,
) -> Source:
    """The Source behind a local file, a folder, a glob, `package:MODULE/FILE` or a hub id, in this order.

    `split` and `subset` choose within a hub set; of a folder whose file names speak of splits (train, test, ...) only
    those of `split` are taken. A hub id may go on with a folder of the repository: `owner/name/folder`. `sheet` is
    that of a workbook. `limit` takes only the first rows. `readers` are what reads a file, by its suffix. Raises
    DataError for what is not there or not readable.
    """
    files = find_files(str(path), split, readers)
    name = visible(str(path))
    if not files and (repository := hub_id(name)):
        dataset = _load_hub(*repository, split=split, subset=subset)
        read = partial(_read_hub, dataset, name)
        fingerprint = f"{fingerprint_of(dataset)}, limit {limit}"
        return Source(name, [], fingerprint, partial(_first, read, limit))
    for file in files:
        if sheet is not None and not _has_sheets(readers[file_suffix(file)]):
            raise DataError(f"{file} has no sheets: got sheet `{sheet}`", "leave it out, it is for .xlsx workbooks")
        _check_readable(file)
    read = partial(_read_files, files, sheet, readers)
    used = tuple({file_suffix(file): readers[file_suffix(file)] for file in files}.values())
    return Source(name, files, f"sheet {sheet}, limit {limit}", partial(_first, read, limit), used)


def _has_sheets(reader: Reader) -> bool:
    return "sheet" in signature(reader).parameters


def _first(read: Callable[[], Rows], limit: int | None) -> Rows:
    return islice(read(), limit)


def _check_readable(file: Path) -> None:
    try:
        with file.open("rb") as opened:
            empty = not opened.read(1)
    except OSError as error:
        raise DataError(f"{file} cannot be read: got {error.strerror}", "check its permissions") from error
    if empty:
        raise DataError(f"{file} is empty", "give a file with rows")


def _read_files(files: list[Path], sheet: str | None, readers: Mapping[str, Reader]) -> Rows:
    for file in files:
        label = visible(file.name if len(files) == 1 else str(file))  # a name may hold bytes that are no text
        suffix = file_suffix(file)
        options = {"sheet": sheet} if _has_sheets(readers[suffix]) else {}
        with foreign(f"{file} cannot be read", DataError, f"check the file, and the reader of {suffix}"):
            try:
                yield from _some(iter(readers[suffix](file, label, **options)), str(file))
            except (OSError, EOFError, zlib.error) as error:
                problem = f"{file} cannot be read: got {reason(error)}; check the file, or fetch it again"
                raise DataError(problem) from error
            except MemoryError as error:
                raise DataError(f"{file} needs more memory than there is", "split it, or its longest rows") from error


def _some(rows: Rows, name: str) -> Rows:
    """The rows. Raises DataError where there are none, or none of the type that a reader should give."""
    first = next(rows, None)
    if first is None:
        raise DataError(f"{name} has no rows", "give data with rows")
    if not isinstance(first, (Row, DataError)):
        got = f"got {type(first).__name__}"
        raise DataError(f"{name}: its reader should give xtune.sources.row.Row: {got}", "yield Row(values, where)")
    yield first
    yield from rows


def _load_hub(repository: str, folder: str | None, *, split: str, subset: str | None) -> Any:
    import datasets

    name = repository if folder is None else f"{repository}/{folder}"
    try:
        return datasets.load_dataset(repository, subset, data_dir=folder, split=split)
    except Exception as error:  # the hub's client, fsspec and the builders each raise their own
        raise DataError(
            f"data set {name}, split {split}, cannot be loaded: got {type(error).__name__}: {one_line(str(error))}",
            "check the name and the connection, or give a local file",
        ) from error


def _read_hub(dataset: Any, name: str) -> Rows:
    yield from _some(arrow_rows(dataset.with_format("arrow").iter(batch_size=1000), name), f"data set {name}")
