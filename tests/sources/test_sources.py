"""Text files, gzip, folders, globs and packages as sources of rows, and the one line that each broken one gives."""

import gzip
import json
from pathlib import Path

import pytest

from xtune.errors import DataError
from xtune.sources.source import Source, open_source

ROWS = [{"a": "x\ny", "b": "你好"}, {"a": 'quote " and , comma', "b": ""}, {"a": "😀", "b": "0"}]


def values(source: Source) -> list[dict]:
    return [row.values for row in source]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return file


def table(delimiter: str) -> str:
    return f"a{delimiter}b\r\n" + "".join(
        f'"{row["a"].replace(chr(34), chr(34) * 2)}"{delimiter}{row["b"]}\r\n' for row in ROWS
    )


LINES = "".join(json.dumps(row) + "\n" for row in ROWS)

FILES = {
    "array.json": json.dumps(ROWS, ensure_ascii=False),
    "indented.json": json.dumps(ROWS, indent=2),
    "lines.json": LINES,
    "lines.jsonl": LINES,
    "crlf.jsonl": "\n" + LINES.replace("\n", "\r\n\r\n"),
    "no-last-line-end.ndjson": LINES.rstrip(),
    "array.jsonl": "  \n" + json.dumps(ROWS),
    "bom.json": b"\xef\xbb\xbf" + json.dumps(ROWS).encode(),
    "bom.jsonl": b"\xef\xbb\xbf" + LINES.encode(),
    "packed.jsonl.gz": LINES,
    "packed.json.gz": json.dumps(ROWS),
    "comma.csv": table(","),
    "bom.csv": b"\xef\xbb\xbf" + table(",").encode(),
    "semicolon.csv": table(";").replace('"quote "" and , comma"', '"quote "" and , comma"'),
    "tabs.tsv": table("\t"),
    "tabs.csv": table("\t"),
    "UPPER.CSV": table(","),
    "packed.csv.gz": table(","),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    source = open_source(write(tmp_path, name, FILES[name]))
    assert values(source) == ROWS
    assert values(source) == ROWS, "a source can be read again"
    assert source.files == [tmp_path / name]


@pytest.mark.parametrize(
    ("name", "content", "wheres"),
    [
        ("x.jsonl", '{"a":1}\n\n{"a":2}\n', ["x.jsonl, line 1", "x.jsonl, line 3"]),
        ("x.json", '[{"a":1},\n{"a":2}]', ["x.json, row 1", "x.json, row 2"]),
        ("x.csv", 'a\n"1\n2"\n\n3\n', ["x.csv, line 2", "x.csv, line 5"]),
        ("x.txt", "one\n\n two \r\n", ["x.txt, line 1", "x.txt, line 3"]),
    ],
)
def test_rows_say_where_they_stand(name: str, content: str, wheres: list[str], tmp_path: Path) -> None:
    assert [row.where for row in open_source(write(tmp_path, name, content))] == wheres


def test_text_is_one_row_a_line(tmp_path: Path) -> None:
    content = "first line\n\n   \n second\u2028still second \r\nthird"
    assert values(open_source(write(tmp_path, "x.txt", content))) == [
        {"text": "first line"}, {"text": " second\u2028still second "}, {"text": "third"},
    ]  # fmt: skip


def test_columns_without_a_name_are_left_out(tmp_path: Path) -> None:
    assert values(open_source(write(tmp_path, "x.csv", ", a ,b\n0,1,2\n"))) == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_a_json_array_is_read_alike_however_it_falls_into_pieces(
    chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"a": '\\u00e9\\" 你😀' * n, "b": [1.5e-3, -2, True, None, {"c": []}], "n": 10**n} for n in range(8)]
    monkeypatch.setattr("xtune.sources.json_rows._CHUNK", chunk)
    for content in (json.dumps(rows), json.dumps(rows, indent=1), json.dumps(rows, ensure_ascii=False)):
        assert values(open_source(write(tmp_path, "x.json", content))) == rows


def test_limit_takes_the_first_rows_across_files(tmp_path: Path) -> None:
    for name in ("1.jsonl", "2.jsonl"):
        write(tmp_path, name, LINES)
    assert values(open_source(tmp_path, limit=4)) == ROWS + ROWS[:1]


def test_the_fingerprint_tells_apart_other_rows_of_the_same_files(tmp_path: Path) -> None:
    file = write(tmp_path, "x.jsonl", LINES)
    assert open_source(file).fingerprint == open_source(file).fingerprint
    assert open_source(file).fingerprint != open_source(file, limit=2).fingerprint


BROKEN = [
    ("x.jsonl", '{"a": 1}\n{"a": \n{"a": 3}\n', "x.jsonl, line 2: the JSON is broken or truncated: got `Expecting "
     "value`; the file should be an array of objects or have one object a line"),
    ("x.jsonl", '{"a": 1}\n3\n{"a": 3}', "x.jsonl, line 2: a row should be a JSON object: got a number; name its"),
    ("x.jsonl", '{"a": 1}\n[3]\n{"a": 3}', "x.jsonl, line 2: a row should be a JSON object: got a list; name"),
    ("x.jsonl", b'{"a": 1}\n{"a": "\xff"}\n{"a": 3}', "x.jsonl, line 2: the text is not UTF-8: got byte 0xff; save"),
    ("x.jsonl", '{"a": 1}\n{"a": "你好"}\n{"a": 3}'.encode("gb18030"), "x.jsonl, line 2: the text is not UTF-8 (it may "
     "be GB18030): got byte 0xc4; save the file as UTF-8"),
    ("x.jsonl", '{"a": 1}\n' + "[" * 100_000 + '\n{"a": 3}', "x.jsonl, line 2: the row is nested too deep; write"),
    ("x.jsonl", '{"a": 1}\n{"a": ' + "9" * 5000 + '}\n{"a": 3}', "x.jsonl, line 2: a number has too many digits: got "
     "`Exceeds the limit"),
    ("x.json", b'[{"a": 1}, {"a": "\xff"}, {"a": 3}]', "x.json, row 2: the text is not UTF-8: got byte 0xff; save"),
    ("x.json", '[{"a": 1}, null, {"a": 3}]', "x.json, row 2: a row should be a JSON object: got null; name"),
    ("x.csv", 'a,b\n1,2\n1,2,3\n3,4\n', "x.csv, line 3: the header has 2 columns: got 3 cells; put cells that hold ',' "
     "in double quotes"),
    ("x.csv", 'a,b\n1,2\n"1"x,2\n3,4\n', "x.csv, line 3: the line is not valid CSV: got "),
    ("x.csv", b'a,b\n1,2\n\xff,2\n3,4\n', "x.csv, line 3: the text is not UTF-8: got byte 0xff; save"),
    ("x.txt", b"one\n\xff\nthree\n", "x.txt, line 2: the text is not UTF-8: got byte 0xff; save the file as UTF-8"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), BROKEN)
def test_a_broken_row_is_told_and_the_rest_is_read(
    name: str, content: str | bytes, message: str, tmp_path: Path
) -> None:
    source = open_source(write(tmp_path, name, content))
    found = list(source.read())
    assert [isinstance(row, DataError) for row in found] == [False, True, False]
    assert str(found[1]).startswith(message)
    with pytest.raises(DataError):
        list(source)


FATAL = [
    ("x.json", "", "is empty; give a file with rows"),
    ("x.json", "[]", "x.json has no rows; give data with rows"),
    ("x.json", " \n", "x.json has no rows; give data with rows"),
    ("x.txt", "\n\n", "x.txt has no rows; give data with rows"),
    ("x.csv", "a,b\n", "x.csv has no rows; give data with rows"),
    ("x.json", '[{"a": 1}', "x.json, after row 1: expected a comma or the array's end: got the end of the file"),
    ("x.json", '[{"a": 1} {"a": 2}]', "x.json, after row 1: expected a comma or the array's end: got `{`; write a"),
    ("x.json", '[{"a": 1}, {"a": "cut', "x.json, row 2: the JSON is broken or truncated: got `Unterminated string"),
    ("x.json", '[{"a": 1}, ]', "x.json, row 2: the JSON is broken or truncated: got `Expecting value`"),
    ("x.json", '[{"a": 1}] [', "x.json: text follows the end of the array: got `[`; make the file one array"),
    ("x.json", '[{"a": 1 "b": 2}]' + " " * 5_000_000, "x.json, row 1: the JSON is broken or truncated: got"),
    ("x.csv", 'a,b\n1,"2\n3,4\n', "x.csv, line 2: the line is not valid CSV: got `unexpected end of data`; close its"),
    ("x.csv", "a,b,a\n1,2,3\n", "x.csv, line 1: two columns have the same name: got `a` twice; give each its own name"),
    ("x.csv", ",,\n1,2,3\n", "x.csv, line 1: the header is empty; write the column names into the first row"),
    ("x.csv", '"a\nb\n', "x.csv, line 1: the line is not valid CSV: got `unexpected end of data`; close its quotes"),
    ("x.csv", "a\n1\n".encode("utf-16"), "x.csv: the text is not UTF-8: got UTF-16; save the file as UTF-8"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), FATAL)
def test_a_broken_file_is_told_in_one_line(name: str, content: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        list(open_source(write(tmp_path, name, content)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_gzip_file_is_told_in_one_line(tmp_path: Path) -> None:
    whole = gzip.compress(LINES.encode() * 100)
    for damaged in (whole[: len(whole) // 2], b"plain text", whole[:20] + b"junk" + whole[24:]):
        (tmp_path / "x.jsonl.gz").write_bytes(damaged)
        with pytest.raises(DataError, match=r"x.jsonl.gz cannot be read: got .*; check the file, or fetch it again"):
            list(open_source(tmp_path / "x.jsonl.gz").read())


def test_big_cells_are_read(tmp_path: Path) -> None:
    big = "x" * 10_000_000
    for name, content in (("x.json", json.dumps([{"a": big}] * 2)), ("x.csv", f"a\n{big}\n{big}\n")):
        assert [len(row["a"]) for row in values(open_source(write(tmp_path, name, content)))] == [len(big)] * 2
