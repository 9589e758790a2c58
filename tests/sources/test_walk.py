"""What cannot be looked at, or only looks like data, is named: never passed over, never waited for."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from xtune.errors import DataError
from xtune.sources import paths as source_paths
from xtune.sources import walk
from xtune.sources.source import open_source

ROW = '{"text": "a"}\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("d/1.jsonl", "d/sub/2.jsonl"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(ROW)
    source_paths._say_once.cache_clear()
    return tmp_path


def refused(path: str) -> str:
    with pytest.raises(DataError) as caught:
        list(open_source(path))
    message = str(caught.value)
    assert "\n" not in message and "; " in message and len(message) < 700
    return message


def dead_link(path: Path) -> None:
    path.symlink_to("gone/2.jsonl")


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


NO_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "dead link": (dead_link, "is a link to what is not there: got `gone/2.jsonl`; put the file there, or delete"),
    "FIFO": (os.mkfifo, "is no file: got `a FIFO`; write the rows to a file, they are read more than once"),
    "socket": (bound_socket, "is no file: got `a socket`; write the rows to a file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is no file: got `a device`; write the rows to a file"),
}


@pytest.mark.parametrize("path", ["d", "d/x.jsonl", "d/*.jsonl", "d/**/*.jsonl", "**"])
@pytest.mark.parametrize("what", NO_FILES)
def test_what_is_no_file_is_named_wherever_it_is_met(folder: Path, what: str, path: str) -> None:
    make, message = NO_FILES[what]
    make(Path("d/x.jsonl"))
    assert refused(path).startswith(f"d/x.jsonl {message}")


@pytest.mark.parametrize("path", ["d", "d/**/*.jsonl", "d/**", "d/*/2.jsonl", "d/s*/*"])
def test_a_folder_that_may_not_be_read_is_named(folder: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(place: Path) -> object:
        if Path(place).name == "sub":
            raise PermissionError(13, "Permission denied")
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refuse)
    if path == "d/*/2.jsonl":  # nothing is to be looked up in the folder
        assert len(open_source(path).files) == 1
    else:
        assert refused(path).startswith("`d/sub` cannot be read: got Permission denied; check the permissions of")


@pytest.mark.parametrize(
    "path", ["d", "d/1.jsonl", "d/*.jsonl", "d/sub/2.jsonl", "d/none.jsonl", "package:xtune/catalogue/rows"]
)
@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_what_the_system_does_not_say_is_not_taken_for_nothing(
    folder: Path, path: str, error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **options: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", refuse)
        with pytest.raises(DataError) as caught:
            source_paths.find_files(path, "train", [".jsonl"])
    assert f"cannot be read: got {error.strerror}; " in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize(
    ("locked", "path"),
    [
        ("d/sub", "d"),
        ("d/sub", "d/**/*.jsonl"),
        ("d/sub/2.jsonl", "d"),
        ("d", "d"),
        ("d", "d/*.jsonl"),
        ("d", "d/1.jsonl"),
        ("d", "d/none"),
    ],
)
def test_another_user_s_folders_are_named(locked: str, path: str) -> None:
    """With real permission bits, which root does not heed: in a process of nobody, in a folder that it may enter."""
    import tempfile

    program = (
        f"import os, sys; os.setgid(65534); os.setuid(65534); sys.path[:0] = {sys.path!r}\n"
        "from xtune.sources.paths import find_files\nfrom xtune.sources.source import _check_readable\n"
        "from xtune.errors import DataError\n"
        f"try: [_check_readable(file) for file in find_files({path!r}, 'train', ['.jsonl'])]\n"
        "except DataError as error: print(error)"
    )
    preload = "import xtune.sources.paths, xtune.sources.source\n"
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        for name in ("d/1.jsonl", "d/sub/2.jsonl"):
            Path(place, name).parent.mkdir(parents=True, exist_ok=True)
            Path(place, name).write_text(ROW)
        Path(place, locked).chmod(0)
        command = [sys.executable, "-c", preload + program]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "cannot be read: got Permission denied; check " in done.stdout and done.stdout.count("\n") == 1


def test_folders_behind_links_are_read_and_loops_are_named(folder: Path) -> None:
    Path("d/linked").symlink_to(folder / "d" / "sub")
    assert [str(file) for file in open_source("d").files] == ["d/1.jsonl", "d/linked/2.jsonl", "d/sub/2.jsonl"]
    assert len(open_source("d/**/*.jsonl").files) == 3
    Path("d/sub/up").symlink_to(folder / "d")
    for path in ("d", "d/**", "**/*.jsonl", "d/**/sub/**/x*"):
        assert "is a link to a folder that it lies in; remove the link" in refused(path)


def test_a_walk_has_an_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(120):
        Path("d", f"{number}.md").touch()
    assert len(open_source("d").files) == 2
    monkeypatch.setattr(walk, "MOST_ENTRIES", 100)
    for path in ("d", "**", "d/**/*.jsonl"):
        assert "has too much below it: got more than 100 files and folders; give a folder further down" in refused(path)


def test_the_whole_machine_is_not_walked() -> None:
    assert refused("/**/*.jsonl")


@pytest.mark.parametrize(
    "path",
    [
        "a" * 300,
        "a" * 5000 + ".jsonl",
        "d/" + "a" * 300 + "/*.jsonl",
        "package:xtune/" + "a" * 300,
        "\0.jsonl",
        "d/\ud800x.jsonl",
        "~nobody_has_this_name/x.jsonl",
        "d/1.jsonl/x.jsonl",
    ],
)
def test_impossible_names_are_one_line(folder: Path, path: str) -> None:
    refused(path)


@pytest.mark.parametrize(
    "path",
    [
        ".a/x",
        "/x",
        "a",
        "",
        "a..b/x",
        "__main__/x",
        "sys/x",
        "json.decoder/x",
        "xtune.nothing/x",
        "xtune/catalogue/rows",
        "a b/x",
    ],
)
def test_no_package_is_one_line_for_data_and_for_models(folder: Path, path: str) -> None:
    from xtune.errors import ModelError
    from xtune.models.place import local_folder

    refused(f"package:{path}")
    with pytest.raises(ModelError, match="^[^\n]*; [^\n]*$"):
        local_folder(f"package:{path}")


@pytest.mark.parametrize("module", ["trap", "trap.inner"])
def test_a_file_in_a_package_is_found_without_running_its_code(
    folder: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = folder / "site" / "trap" / "inner"
    inner.mkdir(parents=True)
    for place in (inner.parent, inner):
        (place / "__init__.py").write_text("raise SystemExit('imported')")
        (place / "rows.jsonl").write_text(ROW)
    monkeypatch.syspath_prepend(folder / "site")
    source = open_source(f"package:{module}/rows.jsonl")
    assert source.files == [folder / "site" / module.replace(".", "/") / "rows.jsonl"]
    assert [row.values for row in source] == [{"text": "a"}]
    assert "trap" not in sys.modules


@pytest.mark.parametrize("name", ["~$book.xlsx", "__MACOSX/1.jsonl", "dataset_info.json", "dataset_infos.json"])
def test_what_only_looks_like_data_is_left_out_and_named(
    folder: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    Path("d", name).parent.mkdir(exist_ok=True)
    Path("d", name).write_text("{}")
    with caplog.at_level("INFO"):
        for path in ("d", "d/**", "d"):
            assert [str(file) for file in open_source(path).files] == ["d/1.jsonl", "d/sub/2.jsonl"]
    assert [record.getMessage().partition(": it ")[0] for record in caplog.records] == [f"d/{name} is left out"]
    if "/" not in name:
        assert refused(f"d/{name}").endswith("; give the file that has the rows")


@pytest.mark.parametrize("suffix", [".zst", ".xz", ".bz2", ".arrow", ".xls", ".orc"])
def test_data_of_other_formats_is_never_left_out(folder: Path, suffix: str) -> None:
    Path(f"d/3.jsonl{suffix}").write_text("x")
    assert refused("d") == (
        f"folder d has several kinds of data: got `{', '.join(sorted(['.jsonl', suffix]))}`; give d/**/*.jsonl"
    )
    assert f"3.jsonl{suffix} has an unknown suffix: got `{suffix}`; " in refused(f"d/3.jsonl{suffix}")
    assert "known are" not in refused(f"d/3.jsonl{suffix}")
    Path("d/1.jsonl").unlink()
    Path("d/sub/2.jsonl").unlink()
    assert f"has no data files; {suffix} is data that xtune does not read: " in refused("d")
