"""Files and folders that appear whole or not at all, and digests of what is in them.

Each is written beside its place, in the same folder, and renamed at the end. A reader sees the old one or the new one;
an error, a full disk or Ctrl-C leaves the old one and nothing else. A link in that place is replaced, never followed.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = ".lock"
_CHUNK = 1 << 22
_workshops: set[Path] = set()
RUST = re.compile(r"\(os error (\d+)\)$")


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yields a place beside `path` to write one file to, which becomes `path` when the block ends well."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield beside
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


@contextmanager
def whole_folder(final: Path, stage: Path, *, sync: bool = False) -> Iterator[Path]:
    """Yields `stage`, an empty folder beside `final`, which becomes `final` when the block ends well.

    Nobody else may use `stage` meanwhile; what a killed process left there is deleted first. `sync` also waits for the
    disk, so that what the disk refuses late is an error here.
    """
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    try:
        yield stage
        give_usual_rights(stage)
        if sync:
            for path in (*stage.rglob("*"), stage):
                flush(path)
        replace_folder(stage, final)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise


@contextmanager
def workshop(final: Path, *, wait: bool) -> Iterator[Path]:
    """Yields a folder beside `final` that no other process has meanwhile, to put `final` together in.

    It is deleted at the end. What a killed process left in it goes first, but an old `final` that it had moved there
    goes back. Where another process is at it, `wait` waits for that one; else BlockingIOError is raised.
    """
    place = workplace(final)
    release = _lock(place / LOCK, wait)
    _workshops.add(final)
    try:
        _put_back(final)
        yield place
    finally:
        _workshops.discard(final)
        shutil.rmtree(place, ignore_errors=True)
        release()


def abandon() -> None:
    """Deletes this process's workshops, for a thread that ends the process while another one is at work in them."""
    for final in tuple(_workshops):
        with suppress(OSError):
            _put_back(final)
        shutil.rmtree(workplace(final), ignore_errors=True)


def _put_back(final: Path) -> None:
    for left in workplace(final).glob("*-old"):
        if not os.path.lexists(final):
            os.rename(left, final)


def _lock(file: Path, wait: bool) -> Callable[[], None]:
    """Locks `file`, and makes its folder for that. Returns what unlocks it; the end of the process does too."""
    from filelock import FileLock, Timeout

    for last in (*[False] * 20, True):
        lock = FileLock(file)
        try:
            lock.acquire(timeout=-1 if wait else 0)
            break
        except Timeout as error:
            raise BlockingIOError(f"another process holds {file}") from error
        except FileNotFoundError:  # the process before has just deleted the folder
            if last:
                raise
    return lock.release


def workplace(final: Path) -> Path:
    """Where `workshop` puts `final` together."""
    return final.with_name(f".{final.name}.part")


def replace_folder(new: Path, final: Path) -> None:
    """Renames `new` to `final`. What is there already is moved aside before, and deleted or moved back after."""
    if not os.path.lexists(final):
        os.rename(new, final)
        return
    old = new.with_name(f"{new.name}-old")
    os.rename(final, old)
    try:
        os.rename(new, final)
    except BaseException:
        os.rename(old, final)
        raise
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old)
    else:
        old.unlink()


def give_usual_rights(folder: Path) -> None:
    """Lets others read the files in `folder` as the umask allows: safetensors makes files that only their owner reads.

    The folder has been made with the umask, which cannot be asked without changing it for other threads.
    """
    usual = folder.stat().st_mode & 0o666
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            file.chmod(file.stat().st_mode | usual)


def flush(path: Path) -> None:
    """fsync of a file or a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def system_error(error: BaseException) -> OSError | None:
    """What the system refused, where that is what `error` says; libraries in Rust wrap it into errors of their own."""
    if isinstance(error, OSError):
        return error
    found = RUST.search(str(error).strip())
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


def text_digest(text: str | bytes) -> str:
    """128 bits of xxHash3, in hexadecimal: against accidents, not against forgers."""
    import xxhash

    return xxhash.xxh3_128_hexdigest(text.encode() if isinstance(text, str) else text)


def file_digest(path: Path) -> str:
    """The digest of a file's bytes, read in pieces."""
    import xxhash

    state = xxhash.xxh3_128()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            state.update(piece)
    return state.hexdigest()
