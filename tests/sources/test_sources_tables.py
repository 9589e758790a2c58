"""Workbooks, Parquet files and hub data sets as sources of rows."""

import datetime
from pathlib import Path

import openpyxl
import pyarrow as pa
import pytest
from pyarrow import parquet

from xtune.errors import DataError
from xtune.sources.parquet import arrow_rows
from xtune.sources.source import open_source
from xtune.sources.table import cell_text


def workbook(path: Path, *rows: list, title: str = "Main") -> Path:
    book = openpyxl.Workbook()
    page = book.active
    page.title = title
    for row in rows:
        page.append(row)
    book.create_sheet("Notes").append(["x"])
    book.save(path)
    return path


def values(path: Path, **options) -> list[dict]:
    return [row.values for row in open_source(path, **options)]


def test_a_workbook_is_text_as_excel_shows_it(tmp_path: Path) -> None:
    date = datetime.datetime(2026, 3, 31)
    path = workbook(
        tmp_path / "x.xlsx",
        [" 问题 ", "Answer", None, 2026],
        ["a", 5.0, "nameless", date],
        [None, None, None, None],
        ["b", 0.1 + 0.2, None, True],
        ["c", "#DIV/0!", None, datetime.time(14, 30)],
    )
    assert values(path) == [
        {"问题": "a", "Answer": "5", "2026": "2026-03-31"},
        {"问题": "b", "Answer": "0.3", "2026": "TRUE"},
        {"问题": "c", "Answer": None, "2026": "14:30:00"},
    ]
    assert [row.where for row in open_source(path)] == [f"x.xlsx, sheet Main, row {n}" for n in (2, 4, 5)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12345678901234567, "12345678901234567"),
        (1e21, "1e+21"),
        (datetime.datetime(2026, 3, 31, 14, 30), "2026-03-31 14:30:00"),
        (datetime.timedelta(hours=30), "1 day, 6:00:00"),
        (False, "FALSE"),
        ("", ""),
        ("one_x000D_\ntwo_x0009_three", "one\r\ntwo\tthree"),
        ("_x000_", "_x000_"),
    ],
)
def test_cell_text(value: object, text: str) -> None:
    assert cell_text(value) == text


def test_escapes_of_a_workbook_are_the_characters_they_stand_for(tmp_path: Path) -> None:
    path = workbook(tmp_path / "x.xlsx", ["q_x000D_", "a"], ["one_x000D_\ntwo", "x"])
    assert values(path) == [{"q": "one\r\ntwo", "a": "x"}]


def test_the_sheet_can_be_chosen_and_empty_rows_before_the_header_do_not_matter(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.create_sheet("Second")["B3"] = "q"
    book["Second"]["B4"] = "a"
    book.save(tmp_path / "x.xlsx")
    assert values(tmp_path / "x.xlsx", sheet="Second") == [{"q": "a"}]
    assert open_source(tmp_path / "x.xlsx").fingerprint != open_source(tmp_path / "x.xlsx", sheet="Second").fingerprint


def test_a_wrong_size_in_the_file_cuts_nothing_off(tmp_path: Path) -> None:
    import zipfile

    path = workbook(tmp_path / "x.xlsx", ["q", "a"], ["1", "2"], ["3", "4"])
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "y.xlsx", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("sheet1.xml"):
                assert b'<dimension ref="A1:B3"' in content
                content = content.replace(b'<dimension ref="A1:B3"', b'<dimension ref="A1"')
            new.writestr(name, content)
    assert values(tmp_path / "y.xlsx") == [{"q": "1", "a": "2"}, {"q": "3", "a": "4"}]


def test_merged_cells_have_their_value_once_and_formulas_what_was_saved(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    page = book.active
    for row in (["q", "a"], ["1", "x"], [None, "y"], ["2", "=1+1"]):
        page.append(row)
    page.merge_cells("A2:A3")
    book.save(tmp_path / "x.xlsx")
    assert values(tmp_path / "x.xlsx") == [{"q": "1", "a": "x"}, {"q": None, "a": "y"}, {"q": "2", "a": None}]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([["q"], ["a"]], {"sheet": "Mian"}, "x.xlsx has no such sheet: got `Mian`; did you mean Main?"),
        ([], {}, "x.xlsx, sheet Main is empty; choose another sheet (Notes), or write column names and rows into it"),
        ([["q"]], {}, "x.xlsx has no rows; give data with rows"),
        (
            [["q", "q "], ["a", "b"]],
            {},
            "x.xlsx, sheet Main, row 1: two columns have the same name: got `q` twice; give",
        ),
        (
            [["", " "], ["a", "b"]],
            {},
            "x.xlsx, sheet Main, row 1: the header is empty; write the column names into the",
        ),
        ([["q"], ["a", "b"]], {}, "x.xlsx, sheet Main, row 2: the header has 1 columns: got 2 cells; name each column"),
    ],
)
def test_a_workbook_that_does_not_fit_is_told(rows: list, options: dict, message: str, tmp_path: Path) -> None:
    path = workbook(tmp_path / "x.xlsx", *rows)
    with pytest.raises(DataError) as caught:
        list(open_source(path, **options))
    assert message in str(caught.value)


def test_a_file_that_is_no_workbook_is_told(tmp_path: Path) -> None:
    path = workbook(tmp_path / "x.xlsx", ["q"], ["a"])
    whole = path.read_bytes()
    for content in (b"plain text", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(
            DataError, match=r"x.xlsx is not a readable .xlsx workbook: got .*save it as .xlsx, without"
        ):
            list(open_source(path))


def test_a_damaged_sheet_is_told(tmp_path: Path) -> None:
    import zipfile

    path = workbook(tmp_path / "x.xlsx", ["q"], *[["a"]] * 50)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "y.xlsx", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content[: len(content) // 2] if name.endswith("sheet1.xml") else content)
    with pytest.raises(DataError, match=r"y.xlsx, sheet Main is damaged: got \w+: .*; save it again"):
        list(open_source(tmp_path / "y.xlsx"))


def test_parquet_keeps_types_and_order(tmp_path: Path) -> None:
    rows = [{"q": f"{n} 你", "m": [{"role": "user", "n": n}], "d": datetime.date(2026, 1, 1)} for n in range(2500)]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet", row_group_size=700)
    assert values(tmp_path / "x.parquet") == rows
    assert [row.where for row in open_source(tmp_path / "x.parquet", limit=2)] == [
        "x.parquet, row 1",
        "x.parquet, row 2",
    ]


def test_a_parquet_row_that_cannot_be_read_spoils_only_itself() -> None:
    broken = pa.array([b"a", b"\xff", b"c"]).view(pa.string())
    found = list(arrow_rows([pa.record_batch({"q": broken})], "x"))
    assert [isinstance(row, DataError) for row in found] == [False, True, False]
    assert str(found[1]).startswith("x, row 2: a value cannot be read: got 'utf-8' codec can't decode byte 0xff")


def test_a_file_that_is_no_parquet_is_told(tmp_path: Path) -> None:
    table = pa.table({"a": ["x"]})
    parquet.write_table(table, tmp_path / "x.parquet")
    whole = (tmp_path / "x.parquet").read_bytes()
    for content in (b"plain", whole[: len(whole) // 2], whole[:-20] + bytes(20)):
        (tmp_path / "x.parquet").write_bytes(content)
        with pytest.raises(DataError, match=r"x.parquet is not a readable Parquet file: got .*; write it again"):
            list(open_source(tmp_path / "x.parquet"))
    parquet.write_table(pa.table([pa.array(["x"]), pa.array(["y"])], names=["a", "a"]), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="x.parquet: two columns have the same name: got a, a; give each its own name"):
        list(open_source(tmp_path / "x.parquet"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`datasets` itself, on a data set folder of this machine in the place of the hub's repository."""
    import datasets

    folder = tmp_path / "owner" / "set"
    (folder / "data").mkdir(parents=True)
    for split, number in (("train", 1500), ("test", 2)):
        table = pa.table({"q": [f"{split} {n}" for n in range(number)]})
        parquet.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet")
    real = datasets.load_dataset

    def local(path: str, *args, **options):
        return real(str(tmp_path / path), *args, cache_dir=str(tmp_path / "cache"), **options)

    monkeypatch.setattr(datasets, "load_dataset", local)
    return folder


def test_a_hub_set_gives_a_split_and_a_fingerprint(hub: Path) -> None:
    source = open_source("owner/set")
    rows = list(source)
    assert len(rows) == 1500
    assert rows[-1] == ({"q": "train 1499"}, "owner/set, row 1500")
    assert source.files == [] and source.fingerprint
    test = open_source("owner/set", split="test", limit=1)
    assert [row.values for row in test] == [{"q": "test 0"}]
    assert test.fingerprint != source.fingerprint
    assert len(list(open_source("owner/set/data"))) == 1500


def test_an_unknown_split_is_told(hub: Path) -> None:
    with pytest.raises(
        DataError, match=r"data set owner/set, split tset, cannot be loaded: got ValueError: Unknown spl"
    ):
        open_source("owner/set", split="tset")


def test_a_data_set_folder_gives_the_rows_that_datasets_gives(hub: Path) -> None:
    import datasets

    for split in ("train", "test"):
        ours = [row.values for row in open_source(hub, split=split)]
        assert ours == datasets.load_dataset("owner/set", split=split).to_list()
