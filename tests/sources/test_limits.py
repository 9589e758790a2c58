"""Files that are made to fill the memory or to take for ever, small here because the limits are: one line each."""

from __future__ import annotations

import gzip
import io
import json
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from xtune.errors import DataError
from xtune.sources import json_rows, limits, table, text
from xtune.sources.source import open_source

MIB = 1 << 20


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits a thousandth of what they are."""
    for module, names in (
        (text, ("ROW_BYTES", "BLANK_LINES", "UNPACKED_FREE")),
        (json_rows, ("ROW_BYTES",)),
        (table, ("SHEET_ROWS", "SHEET_EMPTY", "UNPACKED_FREE")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, getattr(limits, name) >> 10)


def problems(path: Path, **options: Any) -> list[str]:
    """What the rows of a file are, or say: in bounded memory and time, each in one line."""
    found = []
    tracemalloc.start()
    begin = time.monotonic()
    try:
        for row in open_source(path, **options).read():
            found.append(str(row) if isinstance(row, DataError) else "row")
    except DataError as error:
        found.append(str(error))
    seconds, (_, peak) = time.monotonic() - begin, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * MIB and seconds < 20
    assert all("\n" not in line and len(line) < 400 for line in found)
    return found


def packed(path: Path, pieces: Iterator[bytes] | list[bytes]) -> Path:
    with gzip.open(path, "wb", 1) as file:
        for piece in pieces:
            file.write(piece)
    return path


ROW = b'{"text": "a"}\n'
SPLIT = "the row has more than 0 MiB; split it into several rows"  # 32 KiB
LONG = b"a" * 4000


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "pieces", "found"),
    [
        ("x.jsonl", [ROW, b'{"text": "', *[LONG] * 20, b'"}\n', ROW], ["row", f"line 2: {SPLIT}", "row"]),
        ("x.jsonl", [ROW, *[LONG] * 20], ["row", f"line 2: {SPLIT}"]),
        ("x.txt", [b"a\n", *[LONG] * 20, b"\nb\n"], ["row", f"line 2: {SPLIT}", "row"]),
        ("x.csv", [b"q,a\n1,2\n1,", *[LONG] * 20], ["row", f"line 3: {SPLIT}"]),
        ("x.csv", [b'q,a\n1,2\n1,"', *[LONG + b"\n"] * 20], ["row", "line 3: the line is not valid CSV: got `field l"]),
        ("x.json", [b'[{"text": "a"}, {"text": "', *[LONG] * 1000, b'"}]'], ["row", f"row 2: {SPLIT}"]),
        ("x.jsonl", [ROW, *[b"\n" * 500] * 20], ["row", ": nine lines of ten are blank: got more than 1,024 of them"]),
        ("x.txt", [b"a\n", *[b" \n" * 500] * 20], ["row", ": nine lines of ten are blank: got more than 1,024 of"]),
        ("x.csv", [b"q,a\n1,2\n", *[b"\n" * 500] * 20], ["row", ": nine lines of ten are blank: got more than 1,024"]),
        ("x.jsonl", [b"\n", ROW] * 2000, ["row"] * 2000),
    ],
)
def test_long_rows_and_endless_blanks_are_named(
    name: str, ending: str, pieces: list[bytes], found: list[str], tmp_path: Path, small: None
) -> None:
    path = tmp_path / (name + ending)
    if ending:
        packed(path, pieces)
    else:
        path.write_bytes(b"".join(pieces))
    seen = problems(path)
    assert len(seen) == len(found) or "not valid CSV" in found[-1]  # the lines of an endless cell are rows that fail
    assert all(expected in got for got, expected in zip(seen, found, strict=False))


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.json.gz", "x.csv.gz", "x.txt.gz"])
@pytest.mark.parametrize("piece", [b"\n", b" ", b"a", b"[", b'"'])
def test_a_file_that_unpacks_to_too_much_ends_soon(name: str, piece: bytes, tmp_path: Path, small: None) -> None:
    path = packed(tmp_path / name, [piece * (MIB // len(piece))] * 40)
    assert path.stat().st_size < 1 * MIB
    assert problems(path)[-1] != "row"


def test_what_is_packed_as_text_is_read_whole(tmp_path: Path, small: None) -> None:
    rows = [json.dumps({"text": f"row {number} " * 20}).encode() + b"\n" for number in range(4000)]
    assert problems(packed(tmp_path / "x.jsonl.gz", rows)) == ["row"] * 4000


def test_a_row_of_ten_megabytes_is_fine(tmp_path: Path) -> None:
    from xtune.data.feed import mapped
    from xtune.mappers.chat import pretrain

    (tmp_path / "x.jsonl").write_text(json.dumps({"text": "长" * 3_400_000}) + "\n")  # 20 MB, as JSON escapes it
    (row,) = open_source(tmp_path / "x.jsonl")
    assert not isinstance(mapped(pretrain, row.values), DataError)
    assert str(mapped(pretrain, {"text": "a" * 12_000_001})) == (
        "the text has more than 12,000,000 characters: got 12,000,001; split it into several rows"
    )


HEAD = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
NAMES = b'<row r="1"><c r="A1" t="inlineStr"><is><t>q</t></is></c></row>'
TAIL = b"</sheetData></worksheet>"


def workbook(path: Path, part: str, pieces: list[bytes]) -> Path:
    """A workbook of which one part holds what is given."""
    whole, book = io.BytesIO(), openpyxl.Workbook()
    book.active.append(["q"])
    book.save(whole)
    with zipfile.ZipFile(whole) as before, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            after.writestr(name, b"".join(pieces) if name == part else before.read(name))
    return path


SHEET = "xl/worksheets/sheet1.xml"
CELL = b'<row r="%d"><c r="%s%d"><v>1</v></c></row>'


@pytest.mark.parametrize(
    ("part", "pieces", "found"),
    [
        (
            SHEET,
            [CELL % (999_999_999, b"A", 999_999_999)],
            "x.xlsx, sheet Sheet has more than 1,024 rows or 32,768 empty cells",
        ),
        (SHEET, [CELL % (10**40, b"A", 10**40)], "x.xlsx, sheet Sheet has more than 1,024 rows or 32,768 empty cells"),
        (
            SHEET,
            [CELL % (row, b"ZZZ", row) for row in range(2, 20)],
            "x.xlsx, sheet Sheet has more than 1,024 rows or 32,768",
        ),
        (SHEET, [CELL % (2, b"AAAAAAAA", 2)], "x.xlsx, sheet Sheet is damaged: got ValueError: 'AAAAAAAA' is not a"),
        (SHEET, [b'<row r="2"><c r="A2"><v>' + b"9" * 9999 + b"</v></c></row>"], "x.xlsx, sheet Sheet is damaged: got"),
        (SHEET, [b" " * MIB], "x.xlsx unpacks to more than 250 times its size: got 1 MiB in 'xl/worksheets/sheet1"),
        ("xl/styles.xml", [b" " * MIB], "x.xlsx unpacks to more than 250 times its size: got 1 MiB in 'xl/styles"),
    ],
)
def test_workbooks_that_blow_up_are_named(
    part: str, pieces: list[bytes], found: str, tmp_path: Path, small: None
) -> None:
    sheet = [HEAD, NAMES, *pieces, TAIL] if part == SHEET else pieces
    assert problems(workbook(tmp_path / "x.xlsx", part, sheet))[-1].startswith(found)


DEEP: dict[str, Callable[[int], str]] = {
    "lists": lambda depth: "[" * depth + "]" * depth,
    "objects": lambda depth: '{"a":' * depth + "1" + "}" * depth,
}


@pytest.mark.parametrize("depth", [50, 300, 700, 900, 960, 990, 5000, 100_000])
@pytest.mark.parametrize("inner", DEEP)
@pytest.mark.parametrize("name", ["x.jsonl", "x.json"])
def test_rows_nested_without_end_spoil_one_row_through_all_commands(
    name: str, inner: str, depth: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from xtune.cli import main

    rows = ['{"text": ' + DEEP[inner](depth) + "}", '{"text": "a"}']
    (tmp_path / name).write_text("\n".join(reversed(rows)) if name == "x.jsonl" else f"[{','.join(reversed(rows))}]")
    assert main(["check-custom-dataset", str(tmp_path / name)]) == 2
    out, err = capsys.readouterr()
    assert "conversations  1" in out and not err
    assert "should be text" in out or "nested too deep" in out


@pytest.mark.parametrize("digits", [100, 4000, 5000, 30_000])
def test_numbers_of_many_digits_are_text_or_one_line(digits: int, tmp_path: Path, small: None) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": ' + "9" * digits + '}\n{"text": "a"}\n')
    first, second = problems(tmp_path / "x.jsonl")
    assert second == "row" and (first == "row") == (digits < 4300)
    assert first == "row" or "line 1: a number has too many digits: got " in first


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (gzip.compress(ROW, mtime=0), "x.jsonl is no text: it is gzip; add .gz to its name"),
        (b"PK\x03\x04rest", "x.jsonl is no text: it is a zip archive or a workbook; unpack it, or name it .xlsx"),
        (b"\x28\xb5\x2f\xfdrest", "x.jsonl is no text: it is Zstandard; unpack it, or compress it with gzip (.gz)"),
        (b"\xfd7zXZ\x00rest", "x.jsonl is no text: it is xz; unpack it, or compress it with gzip (.gz)"),
        (b"BZh91AYrest", "x.jsonl is no text: it is bzip2; unpack it, or compress it with gzip (.gz)"),
        (
            b'{\n "data": [\n{"a": 1}]}',
            "x.jsonl: one object goes over several lines: got keys ['data']; write only what",
        ),
        (
            b'{\n "a": 1,\n"b": 2}\n{\n"a": 3}',
            "x.jsonl: one object goes over several lines: got keys ['a', 'b']; write",
        ),
    ],
)
def test_what_a_text_file_is_instead_is_said(start: bytes, message: str, tmp_path: Path, small: None) -> None:
    (tmp_path / "x.jsonl").write_bytes(start)
    (found,) = problems(tmp_path / "x.jsonl")
    assert found.startswith(message)


@pytest.mark.parametrize(
    ("lines", "rows"),
    [
        ("sep=;\nq;a\n1;2\n", [{"q": "1", "a": "2"}]),
        ("q;a, short\n1;2\n3;4, 5\n", [{"q": "1", "a, short": "2"}, {"q": "3", "a, short": "4, 5"}]),
        ("q\ta; or not\n1\t2\n", [{"q": "1", "a; or not": "2"}]),
        ('q,a\n"1;\n2",3\n', [{"q": "1;\n2", "a": "3"}]),
        ("q;a,b\n1;2,3\n", [{"q;a": "1;2", "b": "3"}]),
        ("q\na, b\n", None),
    ],
)
def test_what_stands_between_cells(lines: str, rows: list[dict[str, str]] | None, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(lines, newline="")
    if rows is None:
        assert problems(tmp_path / "x.csv") == [
            "x.csv, line 2: the header has 1 columns: got 2 cells; put cells that hold ',' in double quotes"
        ]
    else:
        found = list(open_source(tmp_path / "x.csv"))
        assert [row.values for row in found] == rows
        assert found[0].where == f"x.csv, line {lines.count('sep') + 2}"


def test_a_header_that_is_not_utf8_is_not_replaced_by_a_row(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes("问题,回答\nascii,row\n另一,行\n".encode("gb18030"))
    (found,) = problems(tmp_path / "x.csv")
    assert found.startswith("x.csv, line 1: the text is not UTF-8 (it may be GB18030): got byte 0x")
