"""Ranks: started together, ended together, and whose error is told. And sharded runs that go on where they were."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xtune.dist import launch, started_by
from xtune.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def environment(monkeypatch):
    for name in (
        "RANK",
        "WORLD_SIZE",
        "LOCAL_RANK",
        "MASTER_ADDR",
        "MASTER_PORT",
        "SLURM_NTASKS",
        "SLURM_PROCID",
        "NPROC_PER_NODE",
        "NNODES",
    ):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def start(tmp_path, script, processes=2, setup=""):
    (tmp_path / "rank.py").write_text(script)
    command = [sys.executable, str(tmp_path / "rank.py")]
    starter = f"import sys; from xtune.dist import launch; {setup}\nsys.exit(launch.start({command!r}, {processes}))"
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "DS_ACCELERATOR": "cpu"}
    return subprocess.Popen(
        [sys.executable, "-c", starter], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


FAILS = """
import torch, torch.distributed as dist
from xtune.dist.launch import process_group
from xtune.errors import DataError
with process_group():
    if dist.get_rank() == 1:
        {fails}
    dist.all_reduce(torch.ones(1))
"""


@pytest.mark.parametrize(
    ("fails", "code", "first"),
    [
        ("raise DataError('the file is gone')", 2, "xtune: error: rank 1: the file is gone"),
        ("1 / 0", 1, "Traceback (most recent call last)"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            1,
            "xtune: error: rank 1 was killed by SIGKILL; the other ranks are ended",
        ),
    ],
)
def test_one_rank_fails_and_all_end_with_its_error_first(tmp_path, fails, code, first):
    began = time.monotonic()
    rank = start(tmp_path, FAILS.format(fails=fails))
    _, errors = rank.communicate(timeout=120)
    assert rank.returncode == code
    lines = [line for line in errors.splitlines() if line.strip()]
    assert lines[0].startswith(first), errors
    assert time.monotonic() - began < 90  # the imports; the end itself takes GRACE


def test_signals_are_handed_on_once(tmp_path):
    script = """
import signal, sys, time
from xtune.dist import launch
def note(number, frame):
    print("got", signal.Signals(number).name, flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, note)
launch.listens()
print("ready", flush=True)
time.sleep(60)
"""
    rank = start(tmp_path, script)
    assert rank.stdout.readline() == "ready\n"
    time.sleep(1.0)  # the second rank, which may not print, is ready too
    rank.send_signal(signal.SIGTERM)
    output, _ = rank.communicate(timeout=30)
    assert output == "got SIGTERM\n" and rank.returncode == 0


@pytest.mark.parametrize("words", [["-m", "xtune", "list-strategies"], ["-c", "import random, json, safetensors"]])
def test_ranks_import_nothing_from_the_working_directory(tmp_path, words):
    for name in ("random.py", "json/__init__.py", "safetensors/__init__.py", "argparse.py", "pluggy.py", "pydantic.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"print('ran {name}'); raise SystemExit(3)\n")
    command = [sys.executable, *words]
    starter = f"import sys; from xtune.dist.launch import start; sys.exit(start({command!r}, 2))"
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", starter], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert "ran " not in done.stdout + done.stderr and done.returncode == 0
    alone = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True)
    assert "ran " in alone.stdout, "these files are traps"


def test_who_started_this_process(environment):
    assert started_by.rank_environment() == {} and started_by.processes_wanted() == 0
    environment.setenv("NPROC_PER_NODE", "4")
    assert started_by.processes_wanted() == 4
    environment.setenv("NPROC_PER_NODE", "four")
    with pytest.raises(ConfigError, match="NPROC_PER_NODE should be a number of processes: got `four`"):
        started_by.processes_wanted()
    torchrun = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    for name, value in torchrun.items():
        environment.setenv(name, value)
    assert started_by.rank_environment() == torchrun and started_by.processes_wanted() == 0
    environment.delenv("LOCAL_RANK")
    assert started_by.rank_environment() == torchrun | {"LOCAL_RANK": "0"}
    environment.delenv("MASTER_PORT")
    with pytest.raises(ConfigError, match="one of several, but MASTER_PORT is not set: got `RANK=3` and `WORLD_SIZE=8`; "):
        started_by.rank_environment()


def test_every_process_needs_a_gpu_of_its_own(environment):
    environment.delenv(launch.FAILURES, raising=False)
    launch.check_gpus(3, 4)
    launch.check_gpus(3, 1)  # Slurm shows each task one
    with pytest.raises(ConfigError, match="needs a GPU of its own: got process 3 and 2 GPUs on this machine"):
        launch.check_gpus(2, 2)
    environment.setenv(launch.FAILURES, "started here")
    with pytest.raises(ConfigError, match="got process 2 and 1 GPUs"):
        launch.check_gpus(1, 1)


def test_slurm(environment):
    slurm = {
        "SLURM_NTASKS": "16",
        "SLURM_PROCID": "9",
        "SLURM_LOCALID": "1",
        "SLURM_JOB_ID": "123",
        "SLURM_NODELIST": "gpu[03-05,9],cpu1",
    }
    for name, value in slurm.items():
        environment.setenv(name, value)
    found = started_by.rank_environment()
    assert found["RANK"] == "9" and found["WORLD_SIZE"] == "16" and found["LOCAL_RANK"] == "1"
    assert found["MASTER_ADDR"] == "gpu03" and found["MASTER_PORT"] == "20123"
    environment.setenv("NPROC_PER_NODE", "8")
    with pytest.raises(ConfigError, match="got `SLURM_NTASKS=16` and `NPROC_PER_NODE=8`; unset NPROC_PER_NODE"):
        started_by.rank_environment()


@pytest.mark.parametrize(
    ("nodes", "host"),
    [("n1", "n1"), ("n1,n2", "n1"), ("n[7-9]", "n7"), ("a,n[7-9]", "a"), ("gpu[03-05,9],c1", "gpu03")],
)
def test_the_first_host_of_a_slurm_list(nodes, host):
    assert started_by.first_host(nodes) == host


def test_a_launcher_that_did_not_start_us(environment):
    started_by.check_launcher("none")
    with pytest.raises(ConfigError, match="--launcher slurm needs SLURM_PROCID .* start it with srun"):
        started_by.check_launcher("slurm")


RESUMES = """
import sys
from pathlib import Path
from engine_standins import TinyRun, tiny_config
from xtune.checkpoints import checkpoint
from xtune.dist.launch import process_group
from xtune.training.train import train_run
from xtune.dist import ranks
folder = Path(sys.argv[0]).parent
with process_group():
    for strategy, name in CASES:
        tuning = {"name": "full"} if name == "full" else {"name": "lora", "rank": 4, "dropout": 0.2}
        evaluation = {"holdout": 0.1, "every": 2}  # which FSDP's weights are gathered after
        tiny = TinyRun(
            tiny_config(tuning, strategy, checkpoint={"keep": 9}, train={"batch_size": 1}, evaluation=evaluation)
        )
        place = folder / f"{strategy}_{name}"
        train_run(tiny, place / "whole")
        train_run(tiny, place / "again")
        if ranks.rank() == 0:
            for step in (6, 8):
                checkpoint.discard(place / "again" / "checkpoints" / f"step_{step}")
        ranks.barrier()
        train_run(tiny, place / "again", "auto")
"""


CASES = [
    (strategy, name)
    for strategy in ("ddp", "fsdp", "deepspeed_zero1", "deepspeed_zero2", "deepspeed_zero3")
    for name in ("full", "lora")
]


def test_a_run_of_two_ranks_resumes_bit_for_bit(tmp_path):
    rank = start(tmp_path, RESUMES.replace("CASES", repr(CASES)))
    _, errors = rank.communicate(timeout=280)
    assert rank.returncode == 0, errors
    compared = 0
    for whole in sorted(tmp_path.glob("*/whole/checkpoints/step_8")):
        again = whole.parents[2] / "again" / "checkpoints" / "step_8"
        for file in whole.rglob("*.safetensors"):
            assert file.read_bytes() == (again / file.relative_to(whole)).read_bytes(), file
            compared += 1
    assert compared == sum(2 if strategy == "ddp" else 3 for strategy, _ in CASES)


SLEEPS = """
import os, pathlib, time
pathlib.Path(__file__).with_name(f"pid_{os.environ['RANK']}").write_text(str(os.getpid()))
time.sleep(60)
"""


def ends(process_id):
    """Whether a process ends within a few seconds."""
    for _ in range(100):
        try:
            if Path(f"/proc/{process_id}/stat").read_text().split()[2] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(("name", "code"), [("SIGHUP", 129), ("SIGTERM", 143), ("SIGINT", 130), ("SIGKILL", -9)])
def test_ranks_end_with_the_process_that_started_them(name, code, tmp_path):
    """The ranks handle nothing; SIGKILL leaves the starter no time to end them."""
    starter = start(tmp_path, SLEEPS)
    files = [tmp_path / f"pid_{rank}" for rank in range(2)]
    for _ in range(600):
        if all(file.exists() and file.read_text() for file in files):
            break
        time.sleep(0.05)
    starter.send_signal(signal.Signals[name])
    assert starter.wait(timeout=30) == code
    assert all(ends(file.read_text()) for file in files)


LISTENS = """
import os, signal, time
from xtune.dist import launch
signal.signal(signal.SIGINT, signal.SIG_IGN)
if os.environ["RANK"] in "{listening}":
    launch.listens()
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("listening", ["0", "1", "none"])
def test_a_signal_before_all_ranks_listen_ends_all_at_once(listening, tmp_path):
    starter = start(tmp_path, LISTENS.format(listening=listening))
    assert starter.stdout.readline() == "ready\n"
    starter.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert starter.wait(timeout=30) == 130
    assert time.monotonic() - began < 5.0
    assert starter.stderr.read() == "xtune: stopped by SIGINT\n"


def test_a_signal_between_the_starts_of_two_ranks(tmp_path):
    now = "(real(*given), os.kill(os.getpid(), 15))[0]"
    setup = f"import os; real = launch._start_rank; launch._start_rank = lambda *given: {now}"
    starter = start(tmp_path, SLEEPS, setup=setup)
    _, errors = starter.communicate(timeout=30)
    assert starter.returncode == 143 and errors == "xtune: stopped by SIGTERM\n"
    assert not (tmp_path / "pid_1").exists()


def test_ranks_that_two_signals_do_not_end_are_killed(tmp_path):
    starter = start(tmp_path, LISTENS.format(listening="01"), setup="launch.LAST = 0.5")
    assert starter.stdout.readline() == "ready\n"
    time.sleep(1.0)  # the second rank, which may not print, is ready too
    starter.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert starter.poll() is None, "one signal is answered after the step, however long that is"
    starter.send_signal(signal.SIGINT)
    assert starter.wait(timeout=30) == 130


STOPS = """
import os, time
from xtune.dist.launch import process_group
with process_group():
    if os.environ["RANK"] == "1":
        raise KeyboardInterrupt
    time.sleep({late})
os._exit(130)
"""


@pytest.mark.parametrize("late", [0.5, 600])
def test_the_exit_code_of_ranks_that_stop(late, tmp_path, monkeypatch):
    """130 is no failure; one that does not end by itself is ended."""
    script = STOPS.format(late=late)
    rank = start(tmp_path, script, setup="launch.LAST = 3.0")
    assert rank.wait(timeout=120) == 130
    assert rank.stderr.read() == ""


def as_torchrun(tmp_path, script, rank, port):
    (tmp_path / "alone.py").write_text(script)
    variables = {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1"}
    environment = {**os.environ, **variables, "MASTER_PORT": str(port), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(tmp_path / "alone.py")]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_rank_of_another_launcher_prints_its_error_and_ends(tmp_path):
    """To leave the group first could wait for ever for the rank that waits for this one."""
    script = FAILS.replace("from xtune.errors", LEAVES + "from xtune.errors").format(fails="raise DataError('it is gone')")
    port = launch.free_port()
    ranks = [as_torchrun(tmp_path, script, number, port) for number in range(2)]
    assert ranks[1].wait(timeout=120) == 2
    assert ranks[1].stderr.read().strip().splitlines()[-1] == "xtune: error: rank 1: it is gone"
    ranks[0].kill()
    ranks[0].wait()


LEAVES = """
def never():
    raise AssertionError("the group is left")
dist.destroy_process_group = never
"""

WAITS = """
from xtune.dist import launch, rendezvous
rendezvous.LIMIT, rendezvous.SILENT = 2.0, 0.5
with launch.process_group():
    pass
"""


@pytest.mark.parametrize(("rank", "missing"), [(0, 1), (1, 0)])
def test_ranks_say_for_whom_they_wait(rank, missing, tmp_path):
    port = launch.free_port()
    script = WAITS if rank == 0 else WAITS.replace("LOCAL", "")
    waiting = as_torchrun(tmp_path, script, rank, port)
    _, errors = waiting.communicate(timeout=120)
    assert waiting.returncode == 2
    lines = errors.strip().splitlines()
    if rank == 0:  # the first of a machine
        assert lines[0] == f"waiting for rank {missing} of 2 at `127.0.0.1:{port}`, for 2 seconds at most"
    assert lines[-1].startswith(f"xtune: error: rank {rank}: rank {missing} of 2 did not come to `127.0.0.1:{port}`")
    assert "start the same command on every machine" in lines[-1] and len(lines) == 2 - rank


def test_a_port_that_is_taken_is_one_line(tmp_path):
    import socket

    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        rank = as_torchrun(tmp_path, WAITS, 0, taken.getsockname()[1])
        _, errors = rank.communicate(timeout=120)
    assert rank.returncode == 2 and "cannot meet the others" in errors and "set another PORT" in errors
    assert "Traceback" not in errors


MACHINES = [
    ({"NNODES": "2"}, "`NNODES=2` machines have to know the first one: got no ADDR; set ADDR"),
    ({"NNODES": "2", "ADDR": "a", "NODE_RANK": "2"}, "NODE_RANK counts from 0 to NNODES - 1: got `NODE_RANK=2`"),
    ({"NNODES": "two"}, "NNODES should be a whole number from 1: got `two`"),
    ({"NNODES": "0"}, "NNODES should be a whole number from 1: got `0`"),
    ({"NNODES": "2", "ADDR": "a", "NODE_RANK": "-1"}, "NODE_RANK should be a whole number from 0: got `-1`"),
    ({"WORLD_SIZE": "many", "RANK": "0"}, "WORLD_SIZE should be a whole number from 0: got `many`"),
    ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, "Slurm has 4 tasks for this job, but srun started none of them"),
    (
        {"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_STEP_ID": "4294967290"},
        "Slurm has 4 tasks for this job, but srun started none of them: got a batch script; start it with srun",
    ),
]


@pytest.mark.parametrize(("variables", "message"), MACHINES)
def test_what_machines_have_to_know(variables, message, environment):
    for name in ("NODE_RANK", "ADDR", "SLURM_STEP_ID"):
        environment.delenv(name, raising=False)
    for name, value in variables.items():
        environment.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        started_by.processes_wanted()


def test_a_batch_script_may_start_its_own_processes(environment):
    for name, value in {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}.items():
        environment.setenv(name, value)
    assert started_by.ranks_wanted() == 4  # xtune check, which needs no srun
    environment.setenv("NPROC_PER_NODE", "4")
    assert started_by.processes_wanted() == 4
    environment.delenv("NPROC_PER_NODE")
    environment.setenv("SLURM_STEP_ID", "0")
    environment.setenv("SLURM_JOB_ID", "7")
    environment.setenv("SLURM_NODELIST", "a")
    assert started_by.rank_environment()["WORLD_SIZE"] == "4"
