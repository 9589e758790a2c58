"""What a path may stand for, and the near names in errors."""

from pathlib import Path

import pytest

from xtune.errors import DataError
from xtune.sources.paths import hub_id
from xtune.sources.source import open_source

ROW = '{"text": "a"}\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(ROW)


def opened(path: str, **options) -> list[str]:
    source = open_source(path, **options)
    assert len(list(source)) == len(source.files)
    return [str(file) for file in source.files]


def test_a_folder_gives_its_files_of_one_kind_sorted(folder: Path) -> None:
    write("d/2.jsonl", "d/in/1.jsonl", "d/.hidden/3.jsonl", "d/readme.md")
    assert opened("d") == ["d/2.jsonl", "d/in/1.jsonl"]
    assert [row.where for row in open_source("d")] == ["d/2.jsonl, line 1", "d/in/1.jsonl, line 1"]


def test_a_folder_with_splits_gives_the_split(folder: Path) -> None:
    write("d/train-00000-of-00002.jsonl", "d/train-00001-of-00002.jsonl", "d/test-00000-of-00001.jsonl", "d/val.jsonl")
    assert opened("d") == ["d/train-00000-of-00002.jsonl", "d/train-00001-of-00002.jsonl"]
    assert opened("d", split="validation") == ["d/val.jsonl"]
    with pytest.raises(DataError, match=r"folder d has no such split: got `dev2`; choose one of test, train, valid"):
        open_source("d", split="dev2")


def test_a_split_whose_name_goes_on_is_named_in_full(folder: Path) -> None:
    write(*(f"d/data/{split}-00000-of-00001-a3ecf92.jsonl" for split in ("train_sft", "train_gen", "test_sft")))
    assert opened("d", split="train_sft") == ["d/data/train_sft-00000-of-00001-a3ecf92.jsonl"]
    assert opened("d", split="test") == ["d/data/test_sft-00000-of-00001-a3ecf92.jsonl"]
    with pytest.raises(DataError) as caught:
        open_source("d")
    assert str(caught.value) == (
        "folder d has several splits of this kind: got `train`, which may be train_gen or train_sft; "
        "name one, such as split=train_gen"
    )
    with pytest.raises(DataError, match="has no such split: got `train_dpo`; did you mean train_sft or train_gen"):
        open_source("d", split="train_dpo")
    write("d/data/train.jsonl")
    assert opened("d") == ["d/data/train.jsonl"]


def test_a_folder_names_a_split_too(folder: Path) -> None:
    write("d/train_sft/0000.jsonl", "d/train_gen/0000.jsonl", "d/train/test.jsonl")
    assert opened("d", split="train_sft") == ["d/train_sft/0000.jsonl"]
    assert opened("d", split="test") == ["d/train/test.jsonl"]


def test_a_split_of_any_name_is_found_at_the_beginning(folder: Path) -> None:
    write("d/chat-00000-of-00002.jsonl", "d/chat-00001-of-00002.jsonl", "d/code-00000-of-00001.jsonl")
    assert opened("d", split="chat") == ["d/chat-00000-of-00002.jsonl", "d/chat-00001-of-00002.jsonl"]


def test_numbered_parts_and_several_sets_are_one_split(folder: Path) -> None:
    names = ["d/train_1.jsonl", "d/train_2.jsonl", "d/train_00000_of_00002.jsonl", "d/training.jsonl"]
    write(*names, "d/alpaca_train.jsonl", "d/b/train.jsonl", "d/alpaca_test.jsonl")
    assert opened("d") == sorted([*names, "d/alpaca_train.jsonl", "d/b/train.jsonl"])


def test_a_name_that_only_contains_a_split_is_no_split(folder: Path) -> None:
    write("d/latest.jsonl", "d/trainer.jsonl")
    assert opened("d") == ["d/latest.jsonl", "d/trainer.jsonl"]


def test_a_glob_gives_its_matches_sorted(folder: Path) -> None:
    write("b/2.jsonl", "b/1.jsonl", "b/c/3.jsonl")
    assert opened("b/*.jsonl") == ["b/1.jsonl", "b/2.jsonl"]
    assert opened("b/**/*.jsonl") == ["b/1.jsonl", "b/2.jsonl", "b/c/3.jsonl"]


def test_a_file_with_glob_signs_in_its_name_is_that_file(folder: Path) -> None:
    write("a[1].jsonl")
    assert opened("a[1].jsonl") == ["a[1].jsonl"]


def test_package_files_are_found(folder: Path) -> None:
    source = open_source("package:xtune/catalogue/rows/everyday.jsonl")
    assert len(list(source)) == 120 and source.files[0].is_absolute()
    assert open_source("package:xtune.catalogue.rows/everyday.jsonl").files == source.files


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("d/1.json", "data file does not exist: got `d/1.json`; did you mean 1.jsonl"),
        ("d/zzz.csv", "data file does not exist: got `d/zzz.csv`; choose one of 1.jsonl, 2.txt"),
        ("none/1.json", "data file does not exist: got `none/1.json`; there is no folder none"),
        ("empty/1.json", "data file does not exist: got `empty/1.json`; the folder empty is empty"),
        ("./data", "data file does not exist: got `./data`; "),
        ("d/more", "data file does not exist: got `d/more`; choose one of 1.jsonl, 2.txt"),
        ("d/*.csv", "no file matches: got `d/*.csv`; choose one of 1.jsonl, 2.txt"),
        ("*/x/*.csv", "no file matches: got `*/x/*.csv`; there is no folder */x"),
        ("d/**", "d/3.bin has an unknown suffix: got `.bin`; known are .csv, .json, "),
        ("x.xls", "x.xls has an unknown suffix: got `.xls`; save it as .xlsx"),
        ("empty", "folder empty has no data files; known are .csv, .json"),
        ("d", "folder d has several kinds of data: got `.jsonl, .txt`; give d/*.jsonl"),
        ("package:no_such_package/x.jsonl", "package `no_such_package` is not installed: got `package:no_such_"),
        ("package:", "'' is no name of a package: got `'package:'`; write package:MODULE/FILE"),
        ("package:xtune/catalogue/rows/everyda.jsonl",
         "package xtune has no such file: got `catalogue/rows/everyda.jsonl`; did you mean everyday.jsonl"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_told_with_near_names(folder: Path, path: str, message: str) -> None:
    write("d/1.jsonl", "d/2.txt", "x.xls")
    Path("empty").mkdir()
    if path == "d/**":
        write("d/3.bin")
    with pytest.raises(DataError) as caught:
        open_source(path)
    assert str(caught.value).startswith(message)


def test_an_unreadable_file_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.jsonl")

    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"a.jsonl cannot be read: got Permission denied; check its permissions"):
        open_source("a.jsonl")


def test_a_sheet_is_for_workbooks(folder: Path) -> None:
    write("a.jsonl")
    with pytest.raises(DataError, match=r"a.jsonl has no sheets: got sheet `Main`; leave it out, it is for .xlsx"):
        open_source("a.jsonl", sheet="Main")


def test_hub_ids() -> None:
    assert hub_id("tatsu-lab/alpaca") == ("tatsu-lab/alpaca", None)
    assert hub_id("ArmelR/stack-exchange-instruction/data/finetune") == (
        "ArmelR/stack-exchange-instruction",
        "data/finetune",
    )
    assert hub_id("imdb") == ("imdb", None)
    for path in ("./a", "/a/b", "a b/c", "数据/a", "~/a"):
        assert hub_id(path) is None


def test_a_hub_set_that_cannot_be_reached_is_told_in_one_line(folder: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_source("no-such-owner/no-such-set", split="test")
    message = str(caught.value)
    assert message.startswith("data set no-such-owner/no-such-set, split test, cannot be loaded: got ")
    assert message.endswith("; check the name and the connection, or give a local file") and "\n" not in message
