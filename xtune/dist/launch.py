"""The processes of a run: joined where somebody started them, started here where NPROC_PER_NODE asks for several."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from xtune.errors import ConfigError, XtuneError
from xtune.dist import ranks

LOCAL = "127.0.0.1"
FAILURES = "XTUNE_FAILURES"
"""Environment variable: the folder where a rank leaves its error for the process that started it."""
GRACE = 1.0
"""Seconds that the ranks have, after one has failed, to tell an error that came before it."""

TIMEOUT = timedelta(hours=2)
"""How long a rank waits for another: as long as the first rank may take to prepare data."""


def rank_environment() -> dict[str, str]:
    """RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT of this process; empty where it is alone.

    They are set by torchrun and by `xtune train` itself; under Slurm (`srun`) they follow from Slurm's own.
    """
    found = os.environ
    if int(found.get("WORLD_SIZE", 1)) > 1 and "RANK" in found:
        if missing := [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in found]:
            raise ConfigError(
                f"this process is one of several, but {' and '.join(missing)} is not set: got RANK={found['RANK']} and "
                f"WORLD_SIZE={found['WORLD_SIZE']}; set it, or start with torchrun"
            )
        names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
        # who sets none (Kubeflow) starts one process a machine
        return {"LOCAL_RANK": found.get("LOCAL_RANK", "0"), **{name: found[name] for name in names}}
    if int(found.get("SLURM_NTASKS", 1)) > 1 and "SLURM_PROCID" in found:
        if found.get("NPROC_PER_NODE", "1") != "1":
            raise ConfigError(
                "Slurm's tasks and NPROC_PER_NODE both say how many processes there are: got "
                f"SLURM_NTASKS={found['SLURM_NTASKS']} and NPROC_PER_NODE={found['NPROC_PER_NODE']}; "
                "unset NPROC_PER_NODE and start a task a GPU with srun"
            )
        return {
            "RANK": found["SLURM_PROCID"],
            "WORLD_SIZE": found["SLURM_NTASKS"],
            "LOCAL_RANK": found.get("SLURM_LOCALID", "0"),
            "MASTER_ADDR": found.get("MASTER_ADDR") or first_host(found["SLURM_NODELIST"]),
            "MASTER_PORT": found.get("MASTER_PORT") or str(20000 + int(found["SLURM_JOB_ID"]) % 20000),
        }
    return {}


def first_host(nodes: str) -> str:
    """The first host of a Slurm list: "gpu[03-05,9],cpu1" -> "gpu03"."""
    name, bracket, rest = nodes.partition("[")
    if not bracket or "," in name:
        return nodes.split(",")[0]
    return name + rest.split("]")[0].split(",")[0].split("-")[0]


@contextmanager
def process_group(*, needed: bool = False) -> Iterator[None]:
    """Joins the other ranks, where there are some: over NCCL with CUDA devices, over gloo without.

    `needed` makes a group of one where this process is alone. A rank that `start` started tells it why it failed.
    """
    environment = rank_environment()
    if not environment and not needed:
        yield
        return
    import torch
    import torch.distributed as dist

    if not environment:
        port = str(free_port())
        environment = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": LOCAL, "MASTER_PORT": port}
    os.environ.update(environment)
    with failures_told():
        cuda = torch.cuda.is_available()
        if cuda:
            check_gpus(int(environment["LOCAL_RANK"]), torch.cuda.device_count())
            torch.cuda.set_device(ranks.device())
            os.environ["LOCAL_RANK"] = str(ranks.device().index)  # where DeepSpeed looks for its device
        if int(environment["RANK"]) > 0:
            logging.getLogger("xtune").setLevel(logging.ERROR)  # what all ranks would say, the first one says
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=TIMEOUT)
        try:
            with failures_told():  # before the group is left, which the others would see as an error of ours
                yield
        finally:
            dist.destroy_process_group()


def check_gpus(local_rank: int, gpus: int) -> None:
    """Raises ConfigError where the process of that number has no GPU. A single one may be what Slurm shows of many."""
    if local_rank >= gpus and (gpus > 1 or FAILURES in os.environ):
        raise ConfigError(
            f"a process needs a GPU of its own: got process {local_rank + 1} and {gpus} GPUs on this machine; "
            f"start fewer (NPROC_PER_NODE)"
        )


@contextmanager
def failures_told() -> Iterator[None]:
    """Where `start` is the parent: writes an error to where it looks, and ends the process at once.

    An orderly end would wait for the other ranks, and let them fail with errors of their own in the meantime.
    """
    folder = os.environ.get(FAILURES)
    try:
        yield
    except BaseException as error:
        if folder is None:
            raise
        known = isinstance(error, XtuneError)
        text = f"xtune: error: {error}" if known else traceback.format_exc()
        record = {"time": time.monotonic(), "code": 2 if known else 1, "text": text}
        beside = Path(folder, f".{os.environ['RANK']}")
        beside.write_text(json.dumps(record), encoding="utf-8")
        os.replace(beside, beside.with_name(f"{os.environ['RANK']}.json"))
        sys.stdout.flush()
        os._exit(int(record["code"]))


def check_launcher(launcher: str) -> None:
    """Raises ConfigError where `launcher` (none, pytorch, slurm) did not start this process."""
    variables = {"pytorch": "RANK", "slurm": "SLURM_PROCID"}
    if launcher in variables and variables[launcher] not in os.environ:
        starter = {"pytorch": "torchrun", "slurm": "srun"}[launcher]
        raise ConfigError(
            f"--launcher {launcher} needs {variables[launcher]} in the environment: got none; start it with {starter}"
        )


def processes_wanted() -> int:
    """How many processes NPROC_PER_NODE asks to be started here; 0 where this process is a rank, or to be alone."""
    if rank_environment():
        return 0
    text = os.environ.get("NPROC_PER_NODE", "1")
    if not text.isdigit() or int(text) == 0:
        raise ConfigError(f"NPROC_PER_NODE should be a number of processes: got {text!r}; set 1 or more")
    return int(text) if int(text) > 1 or int(os.environ.get("NNODES", 1)) > 1 else 0


def ranks_wanted() -> int:
    """How many ranks the run will have, on all machines."""
    world = rank_environment().get("WORLD_SIZE")
    return int(world) if world else max(1, processes_wanted()) * int(os.environ.get("NNODES", 1))


def start(command: Sequence[str], processes: int) -> int:
    """Runs `command` in that many ranks on this machine, waits for them, and returns the exit code.

    NNODES, NODE_RANK, ADDR and PORT say how this machine stands to others. When one rank fails, the others are ended,
    and the error that came first is printed first. SIGINT and SIGTERM are handed on to every rank.
    """
    with tempfile.TemporaryDirectory(prefix="xtune-ranks-") as folder:
        ranks = [_start_rank(command, number, processes, Path(folder)) for number in range(processes)]

        def hand_on(number: int, _: object) -> None:
            for rank in ranks:
                rank.send_signal(number)

        before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while all(rank.poll() in (None, 0) for rank in ranks) and any(rank.poll() is None for rank in ranks):
                time.sleep(0.05)
            if all(rank.poll() == 0 for rank in ranks):
                return 0
            time.sleep(GRACE)
            return _tell(ranks, Path(folder))
        finally:
            for rank in ranks:
                rank.kill()
                rank.wait()
            for number, handler in before.items():
                signal.signal(number, handler)


def _start_rank(command: Sequence[str], number: int, processes: int, folder: Path) -> subprocess.Popen[bytes]:
    """One rank. Only the first may print; what the others write to stderr is kept for the case that they fail."""
    nodes, node = int(os.environ.get("NNODES", 1)), int(os.environ.get("NODE_RANK", 0))
    os.environ.setdefault("PORT", "29500" if nodes > 1 else str(free_port()))
    environment = {
        "RANK": str(node * processes + number),
        "LOCAL_RANK": str(number),
        "WORLD_SIZE": str(nodes * processes),
        "MASTER_ADDR": os.environ.get("ADDR", LOCAL),
        "MASTER_PORT": os.environ["PORT"],
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes))),
        "PYTHONSAFEPATH": "1",  # `python -m` would import a random.py or torch/ of the working directory
        FAILURES: str(folder),
    }
    first = environment["RANK"] == "0"
    with open(folder / f"{environment['RANK']}.stderr", "wb") as stderr:
        return subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=None if first else subprocess.DEVNULL,
            stderr=None if first else stderr,
            start_new_session=True,  # Ctrl-C reaches this process alone, which hands it on once
        )


def _tell(ranks: Sequence[subprocess.Popen[bytes]], folder: Path) -> int:
    """Prints why the run failed, and returns its exit code.

    A rank that was killed is the reason, for it could not speak; else the earliest error that a rank told; else that a
    rank ended without a word.
    """
    node = int(os.environ.get("NODE_RANK", 0)) * len(ranks)
    ends = {node + number: rank.poll() for number, rank in enumerate(ranks)}
    records = {int(path.stem): json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("[0-9]*.json")}
    killed = [number for number, code in ends.items() if code is not None and code < 0]
    if not killed and records:
        first, record = min(records.items(), key=lambda item: item[1]["time"])
        print(record["text"].replace("xtune: error: ", f"xtune: error: rank {first}: "), file=sys.stderr)
        return int(record["code"])
    first = (killed or [number for number, code in ends.items() if code])[0]
    code = ends[first] or 0
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    print(f"xtune: error: rank {first} {how}; the other ranks are ended", file=sys.stderr)
    if first > 0:
        kept = folder / f"{first}.stderr"
        print(kept.read_text(encoding="utf-8", errors="replace")[-4000:], end="", file=sys.stderr)
    return 1


def free_port() -> int:
    with socket.socket() as found:
        found.bind((LOCAL, 0))
        return int(found.getsockname()[1])
