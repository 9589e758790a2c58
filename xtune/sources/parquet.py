"""Reader of Parquet files and of other Arrow tables. Memory stays flat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xtune.errors import DataError
from xtune.foreign import reason
from xtune.sources.limits import SHARED_RATIO, UNPACKED_FREE
from xtune.sources.parquet_size import OPTIONS, Sizes
from xtune.sources.row import Row, Rows

BATCH_ROWS = 256
BATCH_BYTES = 2**26
"""Of the rows that are unpacked together, 64 MiB."""


def read_parquet(path: Path, label: str) -> Rows:
    """Rows of a Parquet file, in batches. Raises DataError where it unpacks to far more than its size."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path, **OPTIONS) as file:
            names = file.schema_arrow.names
            if len(set(names)) < len(names):
                raise DataError(
                    f"{label}: two columns have the same name: got {', '.join(names)}", "give each its own name"
                )
            yield from arrow_rows(_batches(path, file, label), label)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{label} is not a readable Parquet file: got {reason(error)}", "write it again") from error


def _batches(path: Path, file: Any, label: str) -> Iterator[Any]:
    """Batches of as many rows as fit in BATCH_BYTES. Raises DataError before the first where all are too much."""
    most = max(UNPACKED_FREE, SHARED_RATIO * path.stat().st_size)
    sizes = Sizes(path, file, most)
    total = sizes.total
    if total <= most:
        total = 0
        for group, size in enumerate(sizes.rows):
            rows = max(1, min(BATCH_ROWS, BATCH_BYTES // size))
            for batch in file.iter_batches(batch_size=rows, row_groups=[group]):
                if (total := total + batch.nbytes) > most:  # more than the footer says
                    break
                yield batch
    if total > most:
        raise DataError(
            f"{label} unpacks to more than {most >> 20:,} MiB, {SHARED_RATIO} times its size: it may be made to "
            "fill the memory",
            "if it is yours, write it as .jsonl",
        )


def arrow_rows(batches: Any, label: str) -> Rows:
    """Rows of Arrow batches (or tables), as plain Python values."""
    number = 0
    for batch in batches:
        try:
            rows = batch.to_pylist()
        except (ValueError, OverflowError):  # text that is not UTF-8, a date that Python has not
            rows = [_arrow_row(batch.slice(index, 1)) for index in range(batch.num_rows)]
        for values in rows:
            number += 1
            where = f"{label}, row {number}"
            if isinstance(values, Exception):
                yield DataError(f"{where}: a value cannot be read: got {reason(values)}", "correct or delete the row")
            else:
                yield Row(values, where)


def _arrow_row(batch: Any) -> dict[str, Any] | Exception:
    try:
        return batch.to_pylist()[0]
    except (ValueError, OverflowError) as error:
        return error
