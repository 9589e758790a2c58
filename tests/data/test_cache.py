"""Prepared data are made once for the same content, whole or not at all, and made again where they are damaged."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hints import joined

from xtune.cli import main
from xtune.conversation import Conversation, Turn
from xtune.data.cache import cached, clear, damage, entries
from xtune.data.content import function_identity, source_digest, tokenizer_identity
from xtune.data.feed import Feed
from xtune.data.prepare import prepare
from xtune.encoding.encoder import Encoder
from xtune.errors import DataError
from xtune.sources.json_rows import read_json
from xtune.sources.source import open_source

ROWS = [{"q": f"question {number}", "a": "yes"} for number in range(30)]


def question(row: dict[str, Any], *, column: str = "q") -> Conversation:
    return Conversation((Turn("user", row[column]), Turn("assistant", row["a"])))


def build(folder: Path) -> dict[str, Any]:
    (folder / "file").write_bytes(b"content")
    return {"data": ["here"]}


def fail(folder: Path) -> dict[str, Any]:
    raise AssertionError("prepared again")


@pytest.fixture
def key(tmp_path: Path, encoder: Callable[..., Encoder], write: Callable[..., Path]) -> Callable[..., str]:
    """The key of prepared data; what is not named stays as it is."""

    def of(
        rows: Any = ROWS,
        mapper: Any = question,
        made: Any = None,
        system: str | None = None,
        limit: int | None = None,
        reader: Any = read_json,
        **options: Any,
    ) -> str:
        feed = Feed(open_source(write(rows), limit=limit, readers={".jsonl": reader}), mapper, system)
        return prepare([feed], made or encoder(), cache_dir=tmp_path / "cache", **options).dataset.key

    return of


def test_the_key_is_the_content_of_all_that_shapes_the_samples(
    key: Callable[..., str], encoder: Callable[..., Encoder], tokenizer: Any
) -> None:
    from copy import deepcopy
    from dataclasses import replace

    template = encoder().template
    other_tokenizer = deepcopy(tokenizer)
    other_tokenizer.add_tokens(["quest"])
    keys = [
        key(),
        key(rows=[*ROWS[:-1], {"q": "question 29", "a": "yeS"}]),
        key(mapper=partial(question, column="a")),
        key(mapper=lambda row: question(row)),
        key(made=encoder(template=replace(template, user="<u> {text}"))),
        key(made=encoder(max_length=33)),
        key(made=encoder(learn="all")),
        key(made=encoder(too_long="truncate")),
        key(made=Encoder(template, other_tokenizer, max_length=32)),
        key(system="s"),
        key(reader=lambda file, label: read_json(file, label)),
        key(limit=20),
        key(seed=1),
        key(pack=False),
        key(deduplicate=True),
        key(holdout=0.1),
    ]
    assert len(set(keys)) == len(keys)
    assert key() == keys[0]


def test_a_mapper_is_known_by_the_code_of_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "my_mappers"
    package.mkdir()
    (package / "__init__.py").write_text("from my_mappers.inner import helper\ndef mapper(row): return helper(row)\n")
    (package / "inner.py").write_text("def helper(row): return row\n")
    monkeypatch.syspath_prepend(tmp_path)
    from my_mappers import mapper  # type: ignore[import-not-found]

    before = function_identity(mapper)
    assert before == function_identity(mapper)
    (package / "inner.py").write_text("def helper(row): return None\n")
    assert before != function_identity(mapper)
    assert function_identity(partial(mapper, x=1)) != function_identity(partial(mapper, x=2))


def test_code_typed_at_a_prompt_has_an_identity() -> None:
    space: dict[str, Any] = {}
    exec("def typed(row): return row", space)
    assert source_digest(space["typed"])


def test_python_tokenizers_are_known_by_their_vocabulary_files(shared: Path) -> None:
    from xtune.models.load import load_tokenizer

    identities = [
        tokenizer_identity(load_tokenizer(shared / "data/tokenizers" / name)) for name in ("internlm", "baichuan_7b")
    ]
    assert identities[0]["content"] != identities[1]["content"]


def test_the_second_time_nothing_is_built(tmp_path: Path) -> None:
    folder = cached(tmp_path, "key", build)
    assert cached(tmp_path, "key", fail) == folder == tmp_path / "key"


@pytest.mark.parametrize("harm", ["flip", "cut", "lose", "index", "index junk", "figures"])
def test_damage_is_found_told_and_mended(tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: str) -> None:
    folder = cached(tmp_path, "key", build)
    index = folder / "index.json"
    if harm == "flip":
        (folder / "file").write_bytes(b"cXntent")
    elif harm == "cut":
        (folder / "file").write_bytes(b"cont")
    elif harm == "lose":
        (folder / "file").unlink()
    elif harm == "index":
        index.unlink()
    elif harm == "index junk":
        index.write_bytes(b"\xff\xfe[")
    else:
        index.write_text(index.read_text().replace("here", "there"))
    with caplog.at_level(logging.WARNING):
        assert cached(tmp_path, "key", build) == folder
    assert f"prepared data in {folder} is damaged: " in caplog.text and "preparing it again" in caplog.text
    assert damage(folder) is None


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, DataError, ValueError])
def test_an_interruption_leaves_nothing_half(tmp_path: Path, interruption: type[BaseException]) -> None:
    def stop(folder: Path) -> dict[str, Any]:
        build(folder)
        raise interruption("stop")

    with pytest.raises(interruption):
        cached(tmp_path, "key", stop)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    assert damage(cached(tmp_path, "key", build)) is None


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / "key.part").mkdir()
    (tmp_path / "key.part" / "half").write_text("x")
    assert sorted(file.name for file in cached(tmp_path, "key", build).iterdir()) == ["file", "index.json"]
    assert not (tmp_path / "key.part").exists()


def test_two_processes_do_the_work_once(tmp_path: Path) -> None:
    program = (
        "import sys, time, logging; from pathlib import Path; from xtune.data.cache import cached\n"
        "logging.basicConfig(level=logging.INFO)\n"
        "def build(folder):\n"
        "    print('builds', flush=True); time.sleep(1.5); (folder / 'file').write_text('x'); return {}\n"
        "print(cached(Path(sys.argv[1]), 'key', build))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=-1, stderr=-1, text=True) for _ in "ab"
    ]
    outputs = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(out.split() for out, _ in outputs) == [["builds", f"{tmp_path}/key"], [f"{tmp_path}/key"]] or sorted(
        out.split() for out, _ in outputs
    ) == [[f"{tmp_path}/key"], ["builds", f"{tmp_path}/key"]]
    assert sum("another process prepares the same data" in err for _, err in outputs) == 1


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        DataError, match="prepared data cannot be written below .*: got Not a directory; make room there"
    ):
        cached(tmp_path / "file" / "data", "key", build)

    def full(folder: Path) -> dict[str, Any]:
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="got No space left on device; .* or set XTUNE_CACHE to another folder"):
        cached(tmp_path, "key", full)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_cache_is_still_read(tmp_path: Path) -> None:
    cached(tmp_path, "key", build)
    tmp_path.chmod(0o500)
    assert cached(tmp_path, "key", fail) == tmp_path / "key"
    with pytest.raises(DataError, match="Permission denied"):
        cached(tmp_path, "other", build)


def test_entries_and_clear(tmp_path: Path) -> None:
    cached(tmp_path, "one", build)
    cached(tmp_path, "two", build)
    (tmp_path / "two" / "index.json").write_text("junk")
    assert {entry.folder.name: entry.about.get("data") for entry in entries(tmp_path)} == {"one": ["here"], "two": None}
    number, freed = clear(tmp_path)
    assert number == 2 and freed > 14 and not entries(tmp_path)
    assert entries(tmp_path / "nowhere") == [] and clear(tmp_path / "nowhere") == (0, 0)


def test_clear_leaves_what_is_being_made(tmp_path: Path) -> None:
    def clear_meanwhile(folder: Path) -> dict[str, Any]:
        assert clear(tmp_path) == (0, 0)
        return build(folder)

    assert damage(cached(tmp_path, "key", clear_meanwhile)) is None


def test_the_cache_command(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    encoder: Callable[..., Encoder],
    write: Callable[..., Path],
) -> None:
    monkeypatch.setenv("XTUNE_CACHE", str(tmp_path / "cache"))
    prepared = prepare([Feed(open_source(write(ROWS)), question)], encoder())
    assert main(["cache", "list"]) == 0
    listed = capsys.readouterr().out
    report = json.loads((tmp_path / "cache" / "data" / prepared.dataset.key / "index.json").read_text())
    assert report["entry"]["about"]["report"] == prepared.report.to_json()
    for expected in (
        prepared.dataset.key[:8],
        "rows.jsonl",
        "30",
        f"{prepared.report.tokens}",
        "kB",
        "1 prepared data set",
    ):
        assert expected in listed
    assert main(["cache", "clear"]) == 0
    assert "cleared 1 prepared data set" in capsys.readouterr().out
    assert main(["cache", "list"]) == 0
    assert "0 prepared data sets" in capsys.readouterr().out


DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "empty": lambda file: file.write_bytes(b""),
    "noise": lambda file: file.write_bytes(bytes(range(256))),
    "null": lambda file: file.write_text("null"),
    "a list": lambda file: file.write_text("[]"),
    "deep": lambda file: file.write_text("[" * 100_000),
    "other types": lambda file: file.write_text(
        '{"check": "", "entry": {"files": {}, "about": {"report": 1, "data": 5}}}'
    ),
    "one bit": lambda file: file.write_bytes(bytes([file.read_bytes()[0] ^ 1, *file.read_bytes()[1:]])),
    "figures": lambda file: file.write_bytes(file.read_bytes().replace(b'"trained"', b'"train"')),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "a link to itself": lambda file: (file.unlink(), file.symlink_to(file.name)),
    "a dead link": lambda file: (file.unlink(), file.symlink_to("nothing")),
    "a FIFO": lambda file: (file.unlink(), os.mkfifo(file)),
}


@pytest.mark.parametrize("harm", DAMAGES)
@pytest.mark.parametrize("name", ["index.json", "samples.arrow", "packs.npz"])
def test_whatever_is_damaged_is_listed_prepared_again_and_cleared(
    name: str,
    harm: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    encoder: Callable[..., Encoder],
    write: Callable[..., Path],
) -> None:
    monkeypatch.setenv("XTUNE_CACHE", str(tmp_path / "cache"))
    feed = Feed(open_source(write(ROWS)), question)
    before = prepare([feed], encoder())
    DAMAGES[harm](tmp_path / "cache" / "data" / before.dataset.key / name)
    assert main(["cache", "list"]) == 0
    assert "1 prepared data set" in capsys.readouterr().out
    again = prepare([feed], encoder())
    assert again.report == before.report and damage(tmp_path / "cache" / "data" / again.dataset.key) is None
    DAMAGES[harm](tmp_path / "cache" / "data" / before.dataset.key / name)
    assert main(["cache", "clear"]) == 0
    assert "cleared 1 prepared data set" in capsys.readouterr().out


def test_nothing_else_is_listed_or_cleared(tmp_path: Path) -> None:
    cached(tmp_path, "key", build)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").touch()
    (tmp_path / "photos" / "index.json").write_text("{}")
    (tmp_path / "linked").symlink_to(tmp_path / "photos")
    assert [entry.folder.name for entry in entries(tmp_path)] == ["key"]
    assert clear(tmp_path)[0] == 1 and (tmp_path / "photos" / "one.jpg").exists()


@pytest.mark.parametrize("place", ["x" * 300, "file/cache", "loop", "~nobody_has_this_name/x" * 500])
@pytest.mark.parametrize("action", ["list", "clear"])
def test_a_cache_in_an_impossible_place_is_one_line(
    place: str, action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setenv("XTUNE_CACHE", str(tmp_path / place))
    assert main(["cache", action]) in (0, 2)
    assert joined(capsys.readouterr().err).count("\n") <= 1
    from xtune.data.cache import data_root

    with pytest.raises(DataError, match="^[^\n]*; [^\n]*$"):
        cached(data_root(), "key", build)


def test_a_full_disk_leaves_no_half_files(tmp_path: Path, write: Callable[..., Path]) -> None:
    """No file may grow beyond some bytes, which ends writing as a full disk does, at any point of preparing."""
    program = f"""
import resource, sys
sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}
from pathlib import Path
from conftest import TEMPLATE, character_tokenizer
from questions import question
from xtune.data.feed import Feed
from xtune.data.prepare import prepare
from xtune.encoding.encoder import Encoder
from xtune.errors import DataError
from xtune.sources.json_rows import read_json
from xtune.sources.source import open_source
feed, encoder = Feed(open_source(sys.argv[1]), question), Encoder(TEMPLATE, character_tokenizer(), max_length=64)
for room in (0, 100, 4_000, 20_000, 60_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, -1))
    try:
        prepare([feed], encoder, cache_dir=Path(sys.argv[2]))
    except DataError as error:
        print(error)
"""
    rows = write([{"q": f"question {number}", "a": "yes"} for number in range(1500)])
    command = [sys.executable, "-c", program, str(rows), str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 5 and all("prepared data cannot be written below " in line for line in lines)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.suffix != ".lock"]


@pytest.mark.parametrize(
    "name", [b"caf\xe9.jsonl", b"\xff\xfe\x80.jsonl", "数据 \u202e.jsonl".encode(), b"\x1b[31mred.jsonl"]
)
def test_any_file_name_is_prepared_and_listed(
    name: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    encoder: Callable[..., Encoder],
    write: Callable[..., Path],
) -> None:
    monkeypatch.setenv("XTUNE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / os.fsdecode(name)
    write([*ROWS, {"no": "question"}, "{"]).rename(path)
    prepared = prepare([Feed(open_source(path), question)], encoder())
    where = prepared.dataset.train.where(0)[0]
    assert where.encode().decode() == where and ".jsonl, line " in where and where.isprintable()
    assert prepared.report.trained == 30 and sum(prepared.report.dropped.values()) == 2
    assert main(["cache", "list"]) == 0
    assert main(["check-custom-dataset", str(path), "--mapper", "default", "--options", "input=q", "output=a"]) == 2
    capsys.readouterr().out.encode()
