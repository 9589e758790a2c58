"""The folder of a run: made, checked and locked before anything else is done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xtune.checkpoints.checkpoint import FOLDER, list_checkpoints, sweep
from xtune.dist import ranks
from xtune.errors import CheckpointError, XtuneError

LOCK = ".lock"


@contextmanager
def workplace(work_dir: Path, *, resuming: bool) -> Iterator[None]:
    """Makes `work_dir` and holds its lock, which ends with the process however that ends.

    Raises XtuneError where it cannot be written to, where another run is in it, and where a run's checkpoints are in it
    already that nobody asked to resume.
    """
    handle, problem = _enter(work_dir, resuming) if ranks.rank() == 0 else (None, None)
    problem = next((found for found in ranks.gather(problem) if found), None)
    if problem is not None:
        if handle is not None:
            os.close(handle)
        raise problem
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _enter(work_dir: Path, resuming: bool) -> tuple[int | None, XtuneError | None]:
    try:
        (work_dir / FOLDER).mkdir(parents=True, exist_ok=True)
        handle = os.open(work_dir / LOCK, os.O_RDWR | os.O_CREAT)
        probe = work_dir / FOLDER / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return None, XtuneError(
            f"work dir {work_dir} cannot be written to: {error.strerror}; choose another --work-dir"
        )
    if not _lock(handle):
        return handle, XtuneError(f"work dir {work_dir} is in use by another run; wait for it, or choose another one")
    sweep(work_dir)
    found = list_checkpoints(work_dir)
    if found and not resuming:
        return handle, CheckpointError(
            f"work dir {work_dir} holds a run already, up to {found[-1].name}; "
            f"go on from it with --resume, or choose another --work-dir"
        )
    return handle, None


def _lock(handle: int) -> bool:
    """Takes the lock; False if another process has it. The system frees it when the process ends."""
    try:
        import fcntl
    except ImportError:  # Windows has no flock: there, two runs in one folder are not noticed
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
