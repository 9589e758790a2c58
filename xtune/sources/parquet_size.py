"""How much a Parquet file unpacks to, before it is unpacked: a value that is stored once may stand in every row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

OPTIONS: dict[str, Any] = {"pre_buffer": False, "buffer_size": 1 << 20}
"""By which pyarrow reads a row group's columns page by page, not whole."""

VALUE, ROW = 16, 64
"""Bytes that a value and a row take in memory at least, however they are stored."""


class Sizes:
    """`total`: bytes that the file unpacks to, or more than `most`. `rows`: bytes that a row may take, by row groups.

    Of a column with a dictionary the longest value there counts for each value, and only where that is too much, the
    values themselves. Values that share prefixes are in no dictionary: they count for `rows` only.
    """

    def __init__(self, path: Path, file: Any, most: int) -> None:
        from pyarrow import parquet

        groups = [_columns(file, number) for number in range(file.num_row_groups)]
        shared = list(dict.fromkeys(column.path_in_schema for group in groups for column in group if _shares(column)))
        fixed = [max(VALUE, file.schema.column(index).length or 0) for index in range(file.metadata.num_columns)]
        self.total = 0
        self.rows: list[int] = []
        with parquet.ParquetFile(path, read_dictionary=shared, **OPTIONS) as indices:
            for number, group in enumerate(groups):
                count = file.metadata.row_group(number).num_rows
                stored = sum(column.total_uncompressed_size for column in group)
                stored += ROW * count + sum(column.num_values * size for column, size in zip(group, fixed, strict=True))
                above = _at_most(indices, number, [column for column in group if column.path_in_schema in shared])
                prefixed = sum(
                    column.total_uncompressed_size * column.num_values for column in group if _prefixed(column)
                )
                self.rows.append(1 + (stored + above + prefixed) // max(count, 1))
                if self.total + stored <= most < self.total + stored + above:
                    above = _exactly(indices, number, shared, most)
                self.total += stored + above
                if self.total > most:
                    break


def _columns(file: Any, group: int) -> list[Any]:
    facts = file.metadata.row_group(group)
    return [facts.column(index) for index in range(facts.num_columns)]


def _shares(column: Any) -> bool:
    """Whether values of a column in a row group stand in a dictionary, once each."""
    return bool(column.has_dictionary_page) and column.physical_type == "BYTE_ARRAY"


def _prefixed(column: Any) -> bool:
    """Whether of a value only that is stored in which it differs from the one before."""
    return "DELTA_BYTE_ARRAY" in column.encodings


def _at_most(file: Any, group: int, columns: list[Any]) -> int:
    """Bytes of all values in dictionaries, if each was as long as the longest in its column's dictionary.

    A dictionary comes before the first value. Where the first rows have no value, all that is stored may be one.
    """
    from pyarrow import compute

    names = [column.path_in_schema for column in columns]
    batch = next(file.iter_batches(batch_size=100, row_groups=[group], columns=names), None) if names else None
    total = 0
    for column, leaf in zip(columns, _leaves(batch.columns), strict=True) if batch else ():
        if _shares(column):
            longest = compute.max(compute.binary_length(leaf.dictionary)).as_py()
            total += column.num_values * (longest or column.total_uncompressed_size)
    return total


def _exactly(file: Any, group: int, names: list[str], most: int) -> int:
    """Bytes of all values of the columns with these names, which are not unpacked for it. It stops beyond `most`."""
    from pyarrow import compute

    total = 0
    for batch in file.iter_batches(batch_size=1000, row_groups=[group], columns=names):
        for leaf in _leaves(batch.columns):
            lengths = compute.binary_length(leaf.dictionary)
            total += compute.sum(lengths.take(leaf.indices)).as_py() or 0
        if total > most:
            break
    return total


def _leaves(arrays: list[Any]) -> Iterator[Any]:
    """The arrays with dictionaries in what may be nested, in the order of the file."""
    import pyarrow as pa

    for array in arrays:
        if pa.types.is_dictionary(array.type):
            yield array
        elif pa.types.is_map(array.type):
            begin, end = array.offsets[0].as_py(), array.offsets[-1].as_py()
            yield from _leaves([part.slice(begin, end - begin) for part in (array.keys, array.items)])
        elif pa.types.is_nested(array.type):
            inner = array.flatten()
            yield from _leaves(inner if isinstance(inner, list) else [inner])
