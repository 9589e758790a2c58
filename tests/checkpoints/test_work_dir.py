"""A run's folder: links in it, file systems without locks or room, ranks that see another one."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from engine_standins import TinyRun, tiny_config

from xtune.checkpoints import work_dir as places
from xtune.checkpoints.checkpoint import find_checkpoint
from xtune.checkpoints.journal import Journal
from xtune.errors import XtuneError
from xtune.training.train import train_run

ROOT = Path(__file__).resolve().parents[2]
LORA = {"name": "lora", "rank": 4}
SECTIONS = {
    "checkpoint": {"every": 1, "keep": 2, "best": True},
    "evaluation": {"holdout": 0.2, "every": 1, "prompts": ["w5"], "max_new_tokens": 2},
    "train": {"max_steps": 3},
    "visualizers": ["LocalVisBackend"],
}
WRITTEN = [
    ".lock",
    "metrics.jsonl",
    "evaluations.jsonl",
    "answers.jsonl",
    "loss.png",
    "report.html",
    "checkpoints/best.json",
    "checkpoints/.step_1.partial",
    "visualizers/scalars.json",
]


def run(work_dir, resume=None, **sections):
    return train_run(TinyRun(tiny_config(LORA, **(SECTIONS | sections))), work_dir, resume)


@pytest.mark.parametrize("kind", ["file", "folder", "nothing"])
def test_links_are_never_followed(kind, tmp_path):
    """Somebody's work dir, in which every name that a run writes leads to a file or folder of the user."""
    precious = tmp_path / "precious"
    work_dir = tmp_path / "run"
    for name in WRITTEN:
        link, target = work_dir / name, precious / name
        target.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        if kind == "file":
            target.write_text("mine")
        elif kind == "folder":
            target.mkdir()
            (target / "mine").write_text("mine")
        link.symlink_to(target)
    result = run(work_dir)
    assert result.reason == "finished" and find_checkpoint(work_dir) == result.checkpoint
    left = {path.name: path.read_text() for path in precious.rglob("*") if path.is_file()}
    assert set(left.values()) <= {"mine"}
    assert len([path for path in precious.rglob("*") if path.is_file()]) == (0 if kind == "nothing" else len(WRITTEN))
    assert not any((work_dir / name).is_symlink() for name in WRITTEN if not name.startswith("visualizers"))
    assert len((work_dir / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_work_dir_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    assert run(tmp_path / "run").reason == "finished"
    assert (tmp_path / "disk" / "report.html").exists()
    assert len(run(tmp_path / "run", "auto", train={"max_steps": 5}).metrics) == 5


def test_something_else_in_the_place_of_a_journal(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(
        XtuneError, match="metrics.jsonl` cannot be taken up: Is a directory.*make room or rights there"
    ):
        run(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks(number, tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with places.workplace(tmp_path, resuming=False):
        pass
    assert f"cannot be locked ({os.strerror(number)}): a second run in it would not be noticed" in caplog.text


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES])
def test_a_lock_that_another_has(number, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(XtuneError, match="is in use by another run"), places.workplace(tmp_path, resuming=False):
        pass


@contextmanager
def files_of_at_most(size):
    """The system's own limit on a file's size replaces a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_journal_on_a_full_disk_loses_no_row(tmp_path, caplog):
    """The file ends with a whole row, whatever the disk took of the next; it is completed when there is room again."""
    journal = Journal(tmp_path / "metrics.jsonl")
    with files_of_at_most(70):
        for step in range(1, 9):
            journal.append({"step": step, "loss": 1.0})
        lines = journal.path.read_text().splitlines(keepends=True)
        assert 1 <= len(lines) < 8 and all(line.endswith("\n") and json.loads(line) for line in lines)
        with pytest.raises(OSError):
            journal.sync()  # a checkpoint that relies on it is not written
    assert caplog.text.count("cannot be written: File too large; training goes on, its rows are kept") == 1
    journal.append({"step": 9})
    journal.close()
    assert [json.loads(line)["step"] for line in journal.path.read_text().splitlines()] == list(range(1, 10))


def test_a_run_on_a_full_disk_trains_on(tmp_path, caplog):
    run(tmp_path, evaluation={})
    before = find_checkpoint(tmp_path)
    with files_of_at_most(1500), pytest.raises(XtuneError, match=r"step 5 cannot be written .*\(step_2, step_3 kept\)"):
        run(tmp_path, "auto", evaluation={}, train={"max_steps": 5}, checkpoint={"every": 9})
    assert find_checkpoint(tmp_path) == before
    again = run(tmp_path, "auto", evaluation={}, train={"max_steps": 5}, checkpoint={"every": 9})
    assert [row["step"] for row in again.metrics] == [1, 2, 3, 4, 5]
    assert not [path for path in tmp_path.rglob(".*") if path.name != ".lock"]


TWO_FOLDERS = """
import os, sys
from pathlib import Path
from xtune.checkpoints import work_dir
from xtune.dist.launch import process_group
work_dir.SEEN_WITHIN = 1.0
with process_group():
    place = Path(__file__).parent / ("node" + os.environ["RANK"] if sys.argv[1:] else "run")
    place.mkdir(exist_ok=True)
    with work_dir.workplace(place, resuming=False):
        print("entered")
"""


@pytest.mark.parametrize("apart", [True, False])
def test_ranks_have_to_share_the_folder(apart, tmp_path):
    (tmp_path / "rank.py").write_text(TWO_FOLDERS)
    command = [sys.executable, str(tmp_path / "rank.py"), *["apart"] * apart]
    starter = f"import sys; from xtune.dist.launch import start; sys.exit(start({command!r}, 2))"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", starter], env=environment, capture_output=True, text=True, timeout=120)
    if apart:
        assert done.returncode == 2 and done.stdout == ""
        assert "is not one folder for all ranks: rank 1 on" in done.stderr and "all machines share" in done.stderr
    else:
        assert done.returncode == 0 and done.stdout == "entered\n"
    assert not list(tmp_path.rglob(".ranks*"))
