"""The folder of a run: made, checked and locked before anything else is done."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xtune.checkpoints.checkpoint import FOLDER, list_checkpoints, sweep
from xtune.dist import ranks
from xtune.errors import CheckpointError, XtuneError
from xtune.foreign import reason

log = logging.getLogger(__name__)

LOCK = ".lock"
SEEN_WITHIN = 60.0
"""Seconds that a network file system may take to show a new file to another machine."""


@contextmanager
def workplace(work_dir: Path, *, resuming: bool) -> Iterator[None]:
    """Makes `work_dir` and holds its lock, which ends with the process however that ends.

    Raises XtuneError where it cannot be written to, where another run is in it, where a run's checkpoints are in it
    already that nobody asked to resume, and where it is not the same folder for all ranks.
    """
    handle, problem = _enter(work_dir, resuming) if ranks.rank() == 0 else (None, None)
    try:
        problem = next((found for found in ranks.gather(problem) if found), None)
        if problem is not None:
            raise problem
        if ranks.world_size() > 1:
            check_shared(work_dir)
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _enter(work_dir: Path, resuming: bool) -> tuple[int | None, XtuneError | None]:
    handle = None
    try:
        (work_dir / FOLDER).mkdir(parents=True, exist_ok=True)
        handle = _open(work_dir / LOCK)
        with tempfile.TemporaryFile(dir=work_dir / FOLDER):
            locked = _lock(handle, work_dir)
        if locked:
            sweep(work_dir)
    except OSError as error:
        problem = f"work dir `{work_dir}` cannot be written to: {error.strerror}; choose another --work-dir"
        return handle, XtuneError(problem)
    if not locked:
        return handle, XtuneError(
            f"work dir `{work_dir}` is in use by another run", "wait for it, or choose another --work-dir"
        )
    found = list_checkpoints(work_dir)
    if found and not resuming:
        return handle, CheckpointError(
            f"work dir `{work_dir}` holds a run already, up to `{found[-1].name}`",
            "go on from it with --resume, or choose another --work-dir",
        )
    return handle, None


def _open(lock: Path) -> int:
    """The file of the lock. A link in its place goes: what it points to is somebody else's."""
    if lock.is_symlink():
        lock.unlink()
    return os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _lock(handle: int, work_dir: Path) -> bool:
    """Takes the lock; False if another process has it. The system frees it when the process ends."""
    try:
        import fcntl
    except ImportError:  # Windows has no flock: there, two runs in one folder are not noticed
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        log.warning(
            "work dir `%s` cannot be locked (%s): a second run in it would not be noticed; start none",
            work_dir,
            reason(error),
        )
    return True


def check_shared(work_dir: Path) -> None:
    """Raises XtuneError where a rank does not see what the first one writes: on its machine, that is another folder."""
    token = ranks.gather(_leave_token(work_dir) if ranks.rank() == 0 else None)[0]
    seen = ranks.gather((_appears(work_dir / token) if token else False, socket.gethostname()))
    if ranks.rank() == 0 and token:
        (work_dir / token).unlink(missing_ok=True)
    blind = [(rank, host) for rank, (sees, host) in enumerate(seen) if not sees]
    if blind:
        rank, host = blind[0]
        raise XtuneError(
            f"work dir `{work_dir}` is not one folder for all ranks: rank {rank} on `{host}` does not see what "
            f"rank 0 on `{seen[0][1]}` writes there",
            "choose a --work-dir that all machines share",
        )


def _leave_token(work_dir: Path) -> str | None:
    """The name of a new file; None where it cannot be written. It is like one half written: it is swept."""
    token = f".ranks.{secrets.token_hex(4)}"
    try:
        (work_dir / token).touch(exist_ok=False)
        return token
    except OSError:
        return None


def _appears(path: Path) -> bool:
    until = time.monotonic() + SEEN_WITHIN
    while not path.exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True
