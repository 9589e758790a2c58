"""Ranks: started together, ended together, and whose error is told. And sharded runs that go on where they were."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xtune.dist import launch
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


def start(tmp_path, script, processes=2, **options):
    (tmp_path / "rank.py").write_text(script)
    command = [sys.executable, str(tmp_path / "rank.py")]
    starter = f"import sys; from xtune.dist.launch import start; sys.exit(start({command!r}, {processes}))"
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
def note(number, frame):
    print("got", signal.Signals(number).name, flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, note)
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
    assert launch.rank_environment() == {} and launch.processes_wanted() == 0
    environment.setenv("NPROC_PER_NODE", "4")
    assert launch.processes_wanted() == 4
    environment.setenv("NPROC_PER_NODE", "four")
    with pytest.raises(ConfigError, match="NPROC_PER_NODE should be a number of processes: got 'four'"):
        launch.processes_wanted()
    torchrun = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    for name, value in torchrun.items():
        environment.setenv(name, value)
    assert launch.rank_environment() == torchrun and launch.processes_wanted() == 0
    environment.delenv("LOCAL_RANK")
    assert launch.rank_environment() == torchrun | {"LOCAL_RANK": "0"}
    environment.delenv("MASTER_PORT")
    with pytest.raises(ConfigError, match="one of several, but MASTER_PORT is not set: got RANK=3 and WORLD_SIZE=8; "):
        launch.rank_environment()


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
    found = launch.rank_environment()
    assert found["RANK"] == "9" and found["WORLD_SIZE"] == "16" and found["LOCAL_RANK"] == "1"
    assert found["MASTER_ADDR"] == "gpu03" and found["MASTER_PORT"] == "20123"
    environment.setenv("NPROC_PER_NODE", "8")
    with pytest.raises(ConfigError, match="got SLURM_NTASKS=16 and NPROC_PER_NODE=8; unset NPROC_PER_NODE"):
        launch.rank_environment()


@pytest.mark.parametrize(
    ("nodes", "host"),
    [("n1", "n1"), ("n1,n2", "n1"), ("n[7-9]", "n7"), ("a,n[7-9]", "a"), ("gpu[03-05,9],c1", "gpu03")],
)
def test_the_first_host_of_a_slurm_list(nodes, host):
    assert launch.first_host(nodes) == host


def test_a_launcher_that_did_not_start_us(environment):
    launch.check_launcher("none")
    with pytest.raises(ConfigError, match="--launcher slurm needs SLURM_PROCID .* start it with srun"):
        launch.check_launcher("slurm")


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
