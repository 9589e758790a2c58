"""Files and folders appear whole or not at all: whatever the disk refuses, whenever the process is killed."""

import os
import resource
import signal
import subprocess
import sys
import threading

import pytest

from xtune import atomic
from xtune.errors import XtuneError
from xtune.export.folder import whole_folder


def text(folder):
    (folder / "a.txt").write_text("x" * 5000)


def tensors(folder):
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(5000)}, folder / "a.safetensors")


def tokenizer(folder):
    from tokenizers import Tokenizer
    from tokenizers.models import BPE

    Tokenizer(BPE({f"word {number}": number for number in range(500)}, [])).save(str(folder / "tokenizer.json"))


@pytest.fixture
def limit():
    """Makes writing fail in earnest, in every library: no file may become larger than so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("write", [text, tensors, tokenizer])
@pytest.mark.parametrize("size", [0, 1, 4096])
@pytest.mark.parametrize("old", [True, False])
def test_a_disk_that_refuses_is_one_line_and_leaves_what_was_there(write, size, old, limit, tmp_path):
    out = tmp_path / "new" / "out"
    if old:
        out.mkdir(parents=True)
        (out / "old").touch()
    limit(size)
    kept = "what was there is kept" if old else "nothing was left there"
    with (
        pytest.raises(XtuneError, match=f"output cannot be written: got `.*out`: File too large; {kept}: make room"),
        whole_folder(out, force=True) as folder,
    ):
        write(folder)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == ([out / "old"] if old else [])
    assert old or not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_read_is_not_told_as_the_output(tmp_path):
    with (
        pytest.raises(
            XtuneError, match=r"file cannot be read: got .*there`: No such file or directory; nothing was le"
        ),
        whole_folder(tmp_path / "out"),
    ):
        (tmp_path / "not there").read_text()


def test_a_file_is_replaced_whole_or_kept(limit, tmp_path):
    place = tmp_path / "页.html"
    with atomic.whole_file(place) as beside:
        beside.write_text("old")
    for stop in (KeyboardInterrupt, OSError):
        with pytest.raises(stop), atomic.whole_file(place) as beside:
            beside.write_text("new")
            raise stop
    limit(4)
    with pytest.raises(OSError, match="File too large"), atomic.whole_file(place) as beside:
        beside.write_text("longer")
    assert [place.read_text(), *tmp_path.iterdir()] == ["old", place]


def test_a_link_is_replaced_not_followed(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "report").symlink_to(tmp_path / "mine")
    with atomic.whole_file(tmp_path / "report") as beside:
        beside.write_text("report")
    assert (tmp_path / "mine").read_text() == "mine" and not (tmp_path / "report").is_symlink()


@pytest.mark.parametrize("to", ["folder", "file", "nothing"])
def test_an_output_that_is_a_link_is_refused_also_with_force(to, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "out").symlink_to(tmp_path / to)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(XtuneError, match=f"output is a link: got .*out -> .*{to}; give that folder, or delete the li"):
        whole_folder(tmp_path / "out", force=True).__enter__()
    assert sorted(tmp_path.iterdir()) == before and (tmp_path / "out").is_symlink()


@pytest.mark.parametrize("name", ["n" * 300, "n" * 5000, "file/out", "/proc/out", "\udcff\ud800"])
def test_a_place_that_cannot_be_is_one_line(name, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises((XtuneError, UnicodeEncodeError)) as caught:
        whole_folder(tmp_path / name).__enter__()
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


KILLED = """
import os, signal, sys
from xtune.export.folder import whole_folder
moment, out = int(sys.argv[1]), sys.argv[2]
renames, rename = 0, os.rename
def dying(*args):
    global renames
    renames += 1
    if renames == moment:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(*args)
    if renames + 2 == moment:
        os.kill(os.getpid(), signal.SIGKILL)
os.rename = dying
with whole_folder(out, force=True) as folder:
    (folder / "half").write_text("1")
    if not moment:
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / "new").write_text("1")
"""


@pytest.mark.parametrize("moment", [0, 1, 2, 3, 4], ids=["writing", "before", "between", "after one", "after two"])
def test_a_killed_process_leaves_nothing_that_lasts(moment, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").touch()
    done = subprocess.run([sys.executable, "-c", KILLED, str(moment), str(out)], check=False)
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(ValueError), whole_folder(out, force=True):
        raise ValueError
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert sorted(path.name for path in out.iterdir()) in (["old"], ["half", "new"])


def test_two_at_once_do_not_meet(tmp_path):
    with whole_folder(tmp_path / "out") as folder:
        text(folder)
        with pytest.raises(XtuneError, match=r"another process is writing .*out; wait for it, or choose another"):
            whole_folder(tmp_path / "out", force=True).__enter__()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.txt"]
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_one_that_waits_comes_after(tmp_path):
    out, seen = tmp_path / "out", []

    def other():
        with atomic.workshop(out, wait=True):
            seen.append(out.is_dir())

    with atomic.workshop(out, wait=True) as place, atomic.whole_folder(out, place / "new"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.2)
        assert seen == []
    thread.join()
    assert seen == [True] and list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_files_have_the_rights_that_the_umask_gives(mask, tmp_path):
    before = os.umask(mask)
    try:
        with whole_folder(tmp_path / "out") as folder:
            text(folder)
            tensors(folder)
    finally:
        os.umask(before)
    rights = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert rights == {"out": 0o777 & ~mask, "a.txt": 0o666 & ~mask, "a.safetensors": 0o666 & ~mask}
