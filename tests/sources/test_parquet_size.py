"""Parquet files in which a few bytes stand for many rows are refused, in bounded memory; others are read."""

from __future__ import annotations

import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from xtune.errors import DataError
from xtune.sources.parquet import read_parquet
from xtune.sources.source import open_source

MIB = 1 << 20
BIG = "a" * MIB


def repeated(values: list[Any], numbers: list[int]) -> pa.DictionaryArray:
    """An array whose values are stored once."""
    return pa.DictionaryArray.from_arrays(pa.array(numbers, pa.int32()), pa.array(values))


def inside(leaf: pa.Array, rows: int) -> pa.Array:
    """Lists of sections with all of `leaf` in the last of the rows."""
    ends = pa.array([0] * rows + [len(leaf)], pa.int32())
    return pa.ListArray.from_arrays(ends, pa.StructArray.from_arrays([leaf], ["content"]))


PLAIN: dict[str, Any] = {"use_dictionary": False}
DELTA = {**PLAIN, "column_encoding": "DELTA_BYTE_ARRAY"}
BOMBS: dict[str, tuple[Any, dict[str, Any]]] = {
    "one value": (lambda: repeated([BIG], [0] * 2000), {}),
    "short, then long": (lambda: repeated(["a", BIG], [0] * 500 + [1] * 500), {}),
    "none, then long": (lambda: repeated(["a", BIG], [None] * 500 + [1] * 500), {}),
    "in row groups": (lambda: repeated([BIG], [0] * 4000), {"row_group_size": 500, "compression": "zstd"}),
    "bytes": (lambda: repeated([BIG.encode()], [0] * 2000), {}),
    "of a fixed length": (lambda: pa.array([bytes(MIB)] * 500, pa.binary(MIB)), {"compression": "zstd"}),
    "in one list": (lambda: inside(repeated([BIG], [0] * 2000), 100), {}),
    "in lists of lists": (lambda: inside(inside(repeated([BIG], [0] * 2000), 100), 9), {}),
    "prefixes": (lambda: pa.chunked_array([[BIG] * 100] * 5), DELTA),
    "compressed": (lambda: pa.chunked_array([[BIG] * 100] * 5), {**PLAIN, "compression": "zstd"}),
    "rows of nothing": (lambda: pa.nulls(30 * MIB, pa.string()), {"compression": "zstd"}),
    "rows of one letter": (lambda: repeated(["a"], [0] * (10 * MIB)), {"compression": "zstd"}),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_what_unpacks_to_far_more_than_its_size_is_refused_in_bounded_memory(kind: str, tmp_path: Path) -> None:
    column, options = BOMBS[kind]
    parquet.write_table(pa.table({"text": column()}), tmp_path / "x.parquet", **options)
    assert (tmp_path / "x.parquet").stat().st_size < MIB
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    begin = time.monotonic()
    try:
        with pytest.raises(DataError, match=r"^x.parquet unpacks to more than \d+ MiB, 1000 times its size[^\n]*$"):
            for _ in open_source(tmp_path / "x.parquet").read():
                pass
    finally:
        pa.set_memory_pool(before)
    assert pool.max_memory() < 400 * MIB and time.monotonic() - begin < 20


def text(number: int) -> str:
    return f"row {number} " * 20


COLUMNS: dict[str, list[Any]] = {
    "plain": [text(number) for number in range(5000)],
    "repeated": [text(number % 7) * 50 for number in range(5000)],
    "one letter": ["a"] * 5000,
    "none": [None] * 5000,
    "none at first": [None] * 2000 + [text(number % 3) for number in range(3000)],
    "lists": [[]] * 200 + [[{"role": "user", "content": text(number % 900)}] * (number % 4) for number in range(4800)],
    "numbers": [number % 3 for number in range(5000)],
    "sections": [{"a": {"b": text(number % 5), "c": [text(number)]}} for number in range(5000)],
}


@pytest.mark.parametrize("options", [{}, {"row_group_size": 700}, PLAIN, {"compression": "zstd"}], ids=str)
@pytest.mark.parametrize("kind", [*COLUMNS, "pairs"])
def test_a_file_of_usual_rows_is_read_whole(
    kind: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xtune.sources.parquet.UNPACKED_FREE", 0)
    pairs = [[("key", text(number % 9)), (text(number), "value")] for number in range(5000)]
    kinds = pa.map_(pa.string(), pa.string())
    column = pa.array(pairs, kinds) if kind == "pairs" else pa.array(COLUMNS[kind])
    table = pa.table({"id": [sha256(bytes(number)).hexdigest() for number in range(5000)], "x": column})
    parquet.write_table(table, tmp_path / "x.parquet", **options)
    rows: list[Any] = list(open_source(tmp_path / "x.parquet").read())
    assert [row.values for row in rows] == table.to_pylist()


def test_long_rows_are_unpacked_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    monkeypatch.setattr("xtune.sources.parquet.arrow_rows", lambda batches, _: sizes.extend(map(len, batches)) or ())
    table = pa.table({"text": repeated(["a", BIG], [0] * 900 + [1] * 150)})
    parquet.write_table(table, tmp_path / "x.parquet", compression=None)
    assert not list(read_parquet(tmp_path / "x.parquet", "x"))
    assert sum(sizes) == 1050 and max(sizes) <= 64
