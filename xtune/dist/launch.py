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
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from types import FrameType

from xtune.atomic import whole_file
from xtune.dist import ranks
from xtune.dist.interrupts import SIGNALS, StopNow, Stopped, handlers
from xtune.dist.parent import dies_with
from xtune.dist.rendezvous import meet
from xtune.dist.started_by import LOCAL, machines, rank_environment
from xtune.errors import ConfigError, XtuneError

FAILURES = "XTUNE_FAILURES"
"""Environment variable: the folder where a rank leaves its error for the process that started it."""
GRACE = 1.0
"""Seconds that the ranks have, after one has failed, to report an error that came before it."""
LAST = 20.0
"""Seconds that all ranks have to end, after one has ended for a signal, or a second signal has come."""
STOPPED = tuple(128 + number for number in SIGNALS)
"""Exit codes of a rank that a signal stopped."""
TIMEOUT = timedelta(hours=2)
"""How long a rank waits for another: as long as the first rank may take to prepare data."""


@contextmanager
def process_group(*, needed: bool = False) -> Iterator[None]:
    """Joins the other ranks, where there are some: over NCCL with CUDA devices, over gloo without.

    `needed` makes a group of one where this process is alone. One of several that fails prints its error, or leaves it
    for `start`, and ends at once: to leave the group in order, it would have to wait for the others.
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
    rank, world = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    with failures_reported(rank) if world > 1 else nullcontext():
        cuda = torch.cuda.is_available()
        if cuda:
            check_gpus(int(environment["LOCAL_RANK"]), torch.cuda.device_count())
            torch.cuda.set_device(ranks.device())
            os.environ["LOCAL_RANK"] = str(ranks.device().index)  # where DeepSpeed looks for its device
        if rank > 0:
            logging.getLogger("xtune").setLevel(logging.ERROR)  # what all ranks would say, the first one says
        # torchrun's agents have met already, and it is they who listen
        met = {} if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") else {"store": meet(environment)}
        backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
        dist.init_process_group(backend, rank=rank, world_size=world, timeout=TIMEOUT, **met)
        done = False
        try:
            yield
            done = True
        finally:
            if done or world == 1:
                dist.destroy_process_group()


def check_gpus(local_rank: int, gpus: int) -> None:
    """Raises ConfigError where the process of that number has no GPU. A single one may be what Slurm shows of many."""
    if local_rank >= gpus and (gpus > 1 or FAILURES in os.environ):
        raise ConfigError(
            f"a process needs a GPU of its own: got process {local_rank + 1} and {gpus} GPUs on this machine",
            "start fewer (NPROC_PER_NODE)"
        )


@contextmanager
def failures_reported(rank: int) -> Iterator[None]:
    """Ends the process at once on an error, which is printed, or written to where `start` looks for it."""
    try:
        yield
    except BaseException as error:
        folder = os.environ.get(FAILURES)
        code = 2 if isinstance(error, XtuneError) else getattr(error, "code", 130) if stopped(error) else 1
        text = f"xtune: error: rank {rank}: {error.lines()}" if isinstance(error, XtuneError) else "" if stopped(error) else traceback.format_exc()
        if folder is not None:
            record = {"time": time.monotonic(), "code": code, "text": text}
            with whole_file(Path(folder, f"{rank}.json")) as beside:
                beside.write_text(json.dumps(record), encoding="utf-8")
        elif text:
            print(text, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def stopped(error: BaseException) -> bool:
    """Whether it is a signal that ends the process, and no mistake."""
    return isinstance(error, KeyboardInterrupt)


def listens() -> None:
    """Leaves word for `start` that this rank handles signals from now on."""
    if folder := os.environ.get(FAILURES):
        Path(folder, f"{os.environ['RANK']}.listens").touch()


def start(command: Sequence[str], processes: int) -> int:
    """Runs `command` in that many ranks on this machine, waits for them, and returns the exit code.

    NNODES, NODE_RANK, ADDR and PORT say how this machine stands to others. When one rank fails, the others are ended,
    and the error that came first is printed first. Signals are handed on to every rank; where they stop the run, the
    exit code is 128 + the signal's number. One that comes before all ranks handle it (`listens`) ends all at once. The
    ranks end with this process, however that ends.
    """
    started: list[subprocess.Popen[bytes]] = []
    handed: list[int] = []
    stop = StopNow()

    def hand_on(number: int, frame: FrameType | None) -> None:
        if len(list(Path(folder).glob("*.listens"))) < processes:
            stop(number, frame)
        handed.append(number)
        for rank in started:
            rank.send_signal(number)

    with tempfile.TemporaryDirectory(prefix="xtune-ranks-") as folder, handlers(hand_on):
        try:
            for number in range(processes):
                started.append(_start_rank(command, number, processes, Path(folder)))
            return _wait(started, handed, Path(folder))
        except Stopped as stopped:
            return stopped.code
        finally:
            for rank in started:
                rank.kill()
                rank.wait()


def _wait(started: Sequence[subprocess.Popen[bytes]], handed: Sequence[int], folder: Path) -> int:
    """Waits for the ranks to end, or one to fail, and returns the exit code."""

    def end(code: int | None) -> int | None:
        """A rank that had no handler yet was killed by the signal that it was handed: that is no failure."""
        return 128 - code if code is not None and -code in handed else code

    until = float("inf")
    while time.monotonic() < until:
        codes = [end(rank.poll()) for rank in started]
        if any(code not in (None, 0, *STOPPED) for code in codes):
            time.sleep(GRACE)
            return _explain(started, folder)
        if None not in codes:
            break
        if any(codes) or len(handed) > 1:
            until = min(until, time.monotonic() + LAST)
        time.sleep(0.05)
    stopped_by = [128 + number for number in handed] if None in codes else []
    return next((code for code in (*codes, *stopped_by) if code), 0)


def _start_rank(command: Sequence[str], number: int, processes: int, folder: Path) -> subprocess.Popen[bytes]:
    """One rank. The first of all may print, and the first of each machine complain; what the others write to stderr is
    kept for the case that they fail.
    """
    nodes, node = machines()
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
            stderr=None if number == 0 else stderr,
            start_new_session=True,  # Ctrl-C reaches this process alone, which hands it on once
            preexec_fn=dies_with(os.getpid()),
        )


def _explain(started: Sequence[subprocess.Popen[bytes]], folder: Path) -> int:
    """Prints why the run failed, and returns its exit code.

    A rank that was killed is the reason, for it could not speak; else the earliest error that a rank reported; else that a
    rank ended silently.
    """
    first_here = machines()[1] * len(started)
    ends = {first_here + number: rank.poll() for number, rank in enumerate(started)}
    records = {int(path.stem): json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("[0-9]*.json")}
    killed = [number for number, code in ends.items() if code is not None and code < 0]
    if not killed and records:
        _, record = min(records.items(), key=lambda item: item[1]["time"])
        print(record["text"], file=sys.stderr)
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
