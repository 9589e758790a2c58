"""Signals: heard while the main thread is busy in C, answered with a line, and told by the exit code."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from xtune import atomic
from xtune.dist.interrupts import Interrupted, Interrupts, exit_code

BUSY = "print('busy', flush=True); hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
"""An hour in C, in which Python calls no handler. Like a backward pass, it lets go of the interpreter's lock."""
COMMAND = f"""
import hashlib
from xtune.dist.interrupts import StopNow, handlers
with handlers(StopNow()):
    {BUSY}
"""
CONVERT = """
import hashlib, sys, time
from xtune.cli import main
from xtune.commands import convert
from xtune.export.folder import whole_folder
def slow(args):
    with whole_folder(args.out, force=True) as folder:
        (folder / "model.safetensors").write_bytes(b"new")
        BUSY
convert.merge = slow
sys.exit(main(["convert", "merge", "base", "adapter", "out"]))
"""
SHORT = """
import sys, tempfile, time
from xtune.cli import main
from xtune.commands import copy_cfg
def slow(args):
    with tempfile.TemporaryDirectory(dir="."):
        print("busy", flush=True)
        time.sleep(60)
copy_cfg.run = slow
sys.exit(main(["copy-cfg", "name", "out"]))
"""
STEP = f"""
import hashlib
from xtune.dist.interrupts import Interrupts, StopNow, handlers
with handlers(StopNow()), Interrupts():
    {BUSY}
"""


def start(script, **options):
    command = [sys.executable, "-c", script]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    assert process.stdout.readline() == "busy\n"
    time.sleep(0.2)
    return process


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_command_ends_at_once(name):
    process = start(COMMAND)
    began = time.monotonic()
    process.send_signal(signal.Signals[name])
    assert process.stderr.readline() == f"xtune: stopped by {name}\n"
    assert time.monotonic() - began < 1.0
    assert process.wait(timeout=30) == exit_code(name) == {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}[name]
    assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("name", "work"),
    [
        *((name, "print('busy', flush=True); time.sleep(60)") for name in ("SIGINT", "SIGTERM", "SIGHUP")),
        ("SIGTERM", BUSY),  # no exception reaches it there
    ],
)
@pytest.mark.parametrize("existing", [False, True])
def test_a_conversion_leaves_nothing_of_its_own(name, work, existing, tmp_path):
    if existing:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "old").touch()
    process = start(CONVERT.replace("BUSY", work), cwd=tmp_path)
    assert (tmp_path / ".out.part").is_dir()
    process.send_signal(signal.Signals[name])
    assert process.wait(timeout=30) == exit_code(name)
    assert process.stderr.read() == f"xtune: stopped by {name}\n"
    assert sorted(path.name for path in tmp_path.rglob("*")) == (["old", "out"] if existing else [])


@pytest.mark.parametrize("left", ["old", "new"])
def test_what_is_abandoned_while_it_replaces_another(left, tmp_path):
    out = tmp_path / "out"
    with atomic.workshop(out, wait=False) as place:
        for name in ("new-old/old", "new/new"):
            (place / name).parent.mkdir()
            (place / name).touch()
        if left == "new":
            (place / "new").rename(out)
        atomic.abandon()
    assert sorted(path.name for path in tmp_path.rglob("*")) == [left, "out"]


def test_what_another_process_writes_is_not_abandoned(tmp_path):
    other = start(CONVERT.replace("BUSY", BUSY), cwd=tmp_path)
    with pytest.raises(BlockingIOError), atomic.workshop(tmp_path / "out", wait=False):
        pass
    atomic.abandon()
    assert (tmp_path / ".out.part" / "new" / "model.safetensors").is_file()
    other.kill()
    other.wait()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_any_command_cleans_up(name, tmp_path):
    process = start(SHORT, cwd=tmp_path)
    process.send_signal(signal.Signals[name])
    assert process.wait(timeout=30) == exit_code(name)
    assert process.stderr.read() == ("xtune: stopped\n" if name == "SIGINT" else f"xtune: stopped by {name}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_step_is_answered_at_once_and_ended_by_the_second():
    process = start(STEP)
    process.send_signal(signal.SIGINT)
    line = process.stderr.readline()
    assert line.startswith("SIGINT: the run stops after this step and writes a checkpoint; Ctrl-C again stops at once")
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == "xtune: stopped by SIGINT\n"
    assert process.wait(timeout=30) == 130


def test_nohup_is_heeded():
    process = start(f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{STEP}")
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.stderr.readline().startswith("SIGTERM: the run stops after this step")
    process.kill()
    process.wait()


def test_handlers_are_put_back_and_nobody_listens_any_more():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGTERM)
        assert interrupts.wanted == interrupts.agreed() == "SIGTERM"
        with pytest.raises(Interrupted):
            interrupts.check()
        with pytest.raises(KeyboardInterrupt) as stopped:
            signal.raise_signal(signal.SIGTERM)
        assert stopped.value.code == 143
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_whoever_listens_already_goes_on_listening():
    import asyncio

    async def train():
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, heard.append, 1)
        with Interrupts():
            pass
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0.05)

    heard = []
    asyncio.run(train())
    assert heard == [1]


def test_reasons_that_are_no_signals():
    assert exit_code("finished") == exit_code("early stop") == 0
