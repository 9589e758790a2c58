"""A thousand malformed files and rows: each gives a conversation, an empty one, or one line of DataError.

Any other exception fails the test with the seed that makes it.
"""

import datetime
import decimal
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pytest
from pyarrow import parquet

from xtune.conversation import ROLES, Conversation, Preference
from xtune.errors import DataError
from xtune.mappers.auto import choose
from xtune.mappers.builtin import MAPPERS
from xtune.mappers.examples import examples
from xtune.sources.source import open_source

SCALARS = [
    None, True, False, 0, -1, 3.5, float("nan"), float("inf"), 10**30, "", " ", "\n", "text", "你好😀", "a\0b",
    "\ud800", "\udcff", "\ud83d\ude00", "[]", "{}", "[1", "<nooutput>", "{{name}}",
    "{{author}}", "### Human: a### Assistant:",
    "<|startofthink|>{<|endofthink|>", "<|startofexec|>1<|endofexec|>", "user", "assistant", "system", "tool", "usr",
    "x" * 100_000,
]  # fmt: skip
OBJECTS = [b"\xff", datetime.date(2026, 1, 1), datetime.datetime(1, 1, 1), decimal.Decimal("NaN"), {1, 2}, object, 1j]
KEYS = ["role", "content", "from", "value", "loss", "weight", "tool_calls", "type", "text", "input", "output", "system",
        "turn_1", "turn_²", "Human", "MOSS", "Tool Responses", ""]  # fmt: skip


def junk(rng: random.Random, scalars: list[Any], depth: int = 3) -> Any:
    """A value of any type; lists of objects with the keys that mappers look for are frequent."""
    kind = rng.random()
    if depth == 0 or kind < 0.5:
        return rng.choice(scalars)
    if kind < 0.75:
        return [junk(rng, scalars, depth - 1) for _ in range(rng.randrange(4))]
    return {rng.choice(KEYS): junk(rng, scalars, depth - 1) for _ in range(rng.randrange(5))}


def spoil(rng: random.Random, value: Any, scalars: list[Any]) -> Any:
    """The value with a part of it replaced by junk, so that what is around it still makes sense."""
    if rng.random() < 0.25:
        return junk(rng, scalars)
    if isinstance(value, dict) and value:
        spoilt = {key: part for key, part in value.items() if rng.random() > 0.1}
        key = rng.choice(list(value))
        return {**spoilt, key: spoil(rng, value[key], scalars)}
    if isinstance(value, list) and value:
        index = rng.randrange(len(value))
        return [*value[:index], spoil(rng, value[index], scalars), *value[index + 1 :]] * rng.randrange(1, 3)
    return value


def outcome(name: str, row: dict[str, Any], options: dict[str, Any]) -> str:
    """What a mapper makes of a row, after checking that it is one of the outcomes that are allowed."""
    try:
        mapped = MAPPERS[name](row, **options)
    except DataError as error:
        assert "\n" not in str(error) and len(str(error)) < 700, error
        return "refused"
    assert isinstance(mapped, (Conversation, Preference))
    sides = [mapped] if isinstance(mapped, Conversation) else [mapped.chosen, mapped.rejected]
    for turn in (turn for side in sides for turn in side.turns):
        assert turn.role in ROLES and turn.learn in (None, True, False)
        turn.text.encode()
        assert "\0" not in turn.text
    return "mapped" if sides[0].turns else "empty"


@pytest.mark.parametrize("name", MAPPERS)
def test_a_mapper_refuses_malformed_rows_or_maps_them(name: str) -> None:
    found: Counter[str] = Counter()
    for seed in range(300):
        rng = random.Random(f"{name} {seed}")
        row, options = rng.choice(examples(MAPPERS[name]))
        spoilt = spoil(rng, row, SCALARS + OBJECTS)
        found[outcome(name, spoilt if isinstance(spoilt, dict) else {}, options)] += 1
    assert found["refused"] and found["mapped"], found


def read(path: Path, rng: random.Random) -> Counter[str]:
    """Everything in a file through a mapper; counts outcomes. A file that cannot be read on counts once."""
    found: Counter[str] = Counter()
    name = rng.choice(list(MAPPERS))
    try:
        source = open_source(path)
        for row in source.read():
            if isinstance(row, DataError):
                assert path.name in str(row) and "\n" not in str(row), row
                found["unreadable row"] += 1
                continue
            assert row.where.startswith(path.name)
            try:
                name = choose(list(row.values), [row.values])
            except DataError as error:
                assert "\n" not in str(error)
            found[outcome(name, row.values, {})] += 1
    except DataError as error:
        assert path.name in str(error) and "\n" not in str(error), error
        found["unreadable file"] += 1
    assert found
    return found


def damaged(rng: random.Random, content: bytes) -> bytes:
    """Bytes cut off, flipped, doubled or put in."""
    data = bytearray(content)
    for _ in range(rng.randrange(3)):
        at = rng.randrange(len(data) + 1)
        change = rng.randrange(4)
        if change == 0:
            data = data[:at]
        elif change == 1:
            data[at:at] = rng.choice(
                [b"\xff", b"\x00", b"\n", b'"', b"{", b"]", b",", b"\xed\xa0\x80", b"\\ud800", b"\r"]
            )
        elif change == 2 and at < len(data):
            data[at] = rng.randrange(256)
        else:
            data[at:at] = data[at : at + 40]
    return bytes(data)


def text_file(rng: random.Random, suffix: str) -> bytes:
    rows = [
        spoil(rng, example.row, SCALARS) for _ in range(4) for example in examples(rng.choice(list(MAPPERS.values())))
    ]
    if suffix == ".json":
        return json.dumps(rows, indent=rng.choice([None, 1])).encode()
    if suffix == ".jsonl":
        return "\n".join(json.dumps(row) for row in rows).encode()
    cells = [[str(part) for part in row.values()] if isinstance(row, dict) else [str(row)] for row in rows]
    mark = rng.choice(",;\t")
    lines = [mark.join(f'"{cell}"' if rng.random() < 0.5 else cell for cell in row) for row in cells]
    return "\n".join(["instruction,input,output".replace(",", mark), *lines]).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".tsv", ".txt"])
def test_damaged_text_files(suffix: str, tmp_path: Path) -> None:
    found: Counter[str] = Counter()
    for seed in range(120):
        rng = random.Random(f"{suffix} {seed}")
        path = tmp_path / f"{seed}{suffix}"
        path.write_bytes(damaged(rng, text_file(rng, suffix)))
        found += read(path, rng)
    assert found["mapped"] and found["unreadable row"], found


CELLS = [
    None, "text", "", " ", 1, 2.5, 1e300, True, datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1, 12, 30),
    datetime.time(1, 2), datetime.timedelta(days=2), "=1/0", "=SUM(A1:A2)", "#N/A", "你好😀", "a_x0000_b", "_xD800_",
]  # fmt: skip


def test_odd_and_damaged_workbooks(tmp_path: Path) -> None:
    found: Counter[str] = Counter()
    for seed in range(150):
        rng = random.Random(seed)
        book = openpyxl.Workbook()
        page = book.active
        header = rng.choice([["Question", "Answer"], ["instruction", "output", None], [], [None], ["a", "a"], [1, 2.0]])
        for row in [header] + [[rng.choice(CELLS) for _ in range(rng.randrange(5))] for _ in range(rng.randrange(9))]:
            page.append(row)
        if rng.random() < 0.3:
            page.merge_cells(rng.choice(["A1:B1", "A2:A4", "A2:C3"]))
        path = tmp_path / f"{seed}.xlsx"
        book.save(path)
        if rng.random() < 0.3:
            path.write_bytes(damaged(rng, path.read_bytes()))
        found += read(path, rng)
    assert min(found[kind] for kind in ("mapped", "empty", "refused", "unreadable row", "unreadable file")) > 0, found


def test_odd_and_damaged_parquet_files(tmp_path: Path) -> None:
    odd = [
        pa.array([b"a", b"\xff", None]).view(pa.string()),
        pa.array([2**62, 0, -(2**62)], pa.timestamp("ns")),
        pa.array([2**52, 0, None], pa.timestamp("s")),
        pa.array([10**9, 0, None], pa.date32()),
        pa.array([decimal.Decimal("1.5"), None, decimal.Decimal(0)]),
        pa.array([[{"role": "user", "content": None}], None, []]),
        pa.array([{"turn_1": None}, None, {"turn_1": {"Human": "a"}}]),
        pa.array([float("nan"), None, 1.0]),
        pa.array([b"\xff", b"", None]),
        pa.nulls(3),
        pa.array(["a", "b", "c"]).dictionary_encode(),
    ]
    found: Counter[str] = Counter()
    for seed in range(150):
        rng = random.Random(seed)
        names = list(
            rng.choice([("instruction", "output"), ("messages",), ("text",), ("input", "output", "system"), ("a", "a")])
        )
        table = pa.table([rng.choice([*odd, pa.array(["x", "y", ""])]) for _ in names], names=names)
        path = tmp_path / f"{seed}.parquet"
        parquet.write_table(table, path, compression=rng.choice(["snappy", "none", "zstd"]))
        if rng.random() < 0.4:
            path.write_bytes(damaged(rng, path.read_bytes()))
        found += read(path, rng)
    assert min(found[kind] for kind in ("mapped", "empty", "refused", "unreadable row", "unreadable file")) > 0, found


def test_a_cell_of_ten_megabytes(tmp_path: Path) -> None:
    big = "x" * 10_000_000
    contents = {
        "x.json": json.dumps([{"text": big}, {"text": [big]}]),
        "x.jsonl": json.dumps({"text": big}) + "\n" + json.dumps({"text": [big]}),
        "x.csv": f"text\n{big}\n{big},{big}\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
        found = read(tmp_path / name, random.Random(0))
        assert found["mapped"] == 1 and found["refused"] + found["unreadable row"] == 1
