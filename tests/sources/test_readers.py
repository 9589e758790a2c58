"""Readers of a plugin: files of their suffix are found and read like any other, and what they do wrong is one line."""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from xtune.errors import DataError
from xtune.sources.row import Row
from xtune.sources.source import READERS, open_source
from xtune.sources.text import open_bytes

ROWS = [{"question": f"{number}?", "answer": str(number)} for number in range(3)]


def read_sqlite(file: Path, label: str, sheet: str | None = None) -> Iterator[Row]:
    """Rows of a table of a SQLite file."""
    base = sqlite3.connect(file)
    base.row_factory = sqlite3.Row
    for number, row in enumerate(base.execute(f"SELECT * FROM {sheet or 'talks'}"), 1):
        yield Row(dict(row), f"{label}, row {number}")


def read_pairs(file: Path, label: str) -> Iterator[Row]:
    """Questions and answers, on alternate lines."""
    with open_bytes(file, label) as opened:
        lines = [line.decode().strip() for line in opened]
    for number in range(0, len(lines), 2):
        yield Row({"question": lines[number], "answer": lines[number + 1]}, f"{label}, line {number + 1}")


KNOWN = {**READERS, ".sqlite": read_sqlite, ".pairs": read_pairs, ".arrow": read_pairs}


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    path = tmp_path / "talks.sqlite"
    with sqlite3.connect(path) as base:
        for table, rows in (("talks", ROWS), ("more", ROWS[:1])):
            base.execute(f"CREATE TABLE {table} (question, answer)")
            base.executemany(f"INSERT INTO {table} VALUES (:question, :answer)", rows)
    return path


def test_a_file_of_the_suffix_is_read_by_it_with_limit_and_table(talks: Path) -> None:
    source = open_source(talks, readers=KNOWN)
    assert [row.values for row in source] == [row.values for row in source] == ROWS
    assert [row.where for row in source][1] == "talks.sqlite, row 2"
    assert [row.values for row in open_source(talks, readers=KNOWN, limit=2)] == ROWS[:2]
    assert [row.values for row in open_source(talks, readers=KNOWN, sheet="more")] == ROWS[:1]
    assert source.readers == (read_sqlite,)
    with pytest.raises(DataError, match=r"unknown suffix: got `.sqlite`; known are .csv, .json"):
        open_source(talks)


def test_folders_globs_and_compressed_files_are_found(tmp_path: Path, talks: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    text = "".join(f"{row['question']}\n{row['answer']}\n" for row in ROWS)
    (folder / "a.pairs").write_text(text)
    (folder / "b.pairs.gz").write_bytes(gzip.compress(text.encode()))
    for path in (folder, folder / "*.pairs*"):
        source = open_source(path, readers=KNOWN)
        assert [row.values for row in source] == ROWS * 2 and source.readers == (read_pairs,)
    (folder / "a.pairs").rename(folder / "a.arrow")  # what nothing built in reads is no longer passed over
    with pytest.raises(DataError, match=r"several kinds of data: got `.arrow, .pairs`; give .*/d/\*.arrow"):
        open_source(folder, readers=KNOWN)
    assert [row.values for row in open_source(folder / "a.arrow", readers=KNOWN)] == ROWS
    with pytest.raises(DataError, match="has no sheets: got sheet `more`"):
        open_source(folder / "b.pairs.gz", readers=KNOWN, sheet="more")


def raising(error: BaseException) -> Callable[..., Any]:
    def read(file: Path, label: str) -> Iterator[Row]:
        yield Row(ROWS[0], f"{label}, row 1")
        raise error

    return read


@pytest.mark.parametrize(
    ("reader", "told"),
    [
        (raising(ZeroDivisionError("division by zero")), "cannot be read: ZeroDivisionError: division by zero; check"),
        (raising(SystemExit(3)), "cannot be read: SystemExit: 3; check the file, and the reader of .sqlite"),
        (raising(PermissionError(13, "Permission denied")), "cannot be read: got .*Permission denied; check"),
        (raising(DataError("the file is too old")), "^the file is too old$"),
        (
            lambda file, label: ROWS,
            r"its reader should give xtune.sources.row.Row: got dict; yield Row\(values, where\)",
        ),
        (lambda file, label: [], "talks.sqlite has no rows; give data with rows"),
        (lambda file, label: None, "cannot be read: TypeError: "),
    ],
)
def test_what_a_reader_does_wrong_is_one_line_that_names_the_file(talks: Path, reader: Any, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        list(open_source(talks, readers={".sqlite": reader}))
    assert "\n" not in str(caught.value)


def test_a_signal_in_a_reader_is_no_fault_of_the_data(talks: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        list(open_source(talks, readers={".sqlite": raising(KeyboardInterrupt())}))


COMMANDS = [
    "check-custom-dataset {file} --mapper default --options input=question output=answer",
    "rehearse {config}",
    "train {config} --work-dir {work}",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_read_the_files_of_a_plugin(
    tmp_path: Path, talks: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    from xtune.cli import main

    info = tmp_path / "site" / "talk_reader-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: talk-reader\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[xtune]\ntalk_reader = talk_reader\n")
    (tmp_path / "site" / "talk_reader.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delenv("XTUNE_PLUGINS", raising=False)
    config = tmp_path / "mine.py"
    config.write_text(
        f"model = dict(name='smollm2_135m', path={str(tiny_model)!r})\ntemplate = 'chatml'\nmax_length = 256\n"
        "tuning = dict(name='lora')\ntrain = dict(max_steps=1)\n"
        f"data = [dict(path={str(talks)!r}, mapper='default', options=dict(input='question', output='answer'))]\n"
    )
    words = command.format(file=talks, config=config, work=tmp_path / "work").split()
    assert main(words) == 0


PLUGIN = """
import sqlite3
from xtune import hookimpl

@hookimpl
def register_sources(sources):
    from xtune.sources.row import Row

    def read(file, label):
        for number, row in enumerate(sqlite3.connect(file).execute("SELECT question, answer FROM talks"), 1):
            yield Row({"question": row[0], "answer": row[1]}, f"{label}, row {number}")

    sources.add(".sqlite", read)
"""
