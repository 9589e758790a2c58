"""Folders of prepared data, made once and shared by every run and process that asks for the same content.

`<cache>/data/<key>` appears whole or not at all: it is built beside, under a lock, and renamed.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from typing_extensions import TypedDict

from xtune.atomic import file_digest, text_digest, whole_folder
from xtune.errors import DataError
from xtune.foreign import read_json
from xtune.paths import cache_root, kind, unusable

INDEX = "index.json"
log = logging.getLogger(__name__)


class Entry(NamedTuple):
    """One folder of prepared data: `bytes` on disk, `about` what its builder said of it."""

    folder: Path
    bytes: int
    about: dict[str, Any]


class Content(TypedDict):
    """The size and the digest of each file, and what the builder said."""

    files: dict[str, list[int | str]]
    about: dict[str, Any]


class Index(TypedDict):
    check: str
    entry: Content


def data_root() -> Path:
    """The folder that holds prepared data."""
    return cache_root() / "data"


def cached(root: Path, key: str, build: Callable[[Path], dict[str, Any]]) -> Path:
    """The folder of `key`. If there is none, or a damaged one, `build(folder)` fills it and returns what to say
    of it in the list.

    Of several processes that ask at once, one builds and the others wait. Raises DataError where it cannot be written.
    """
    folder = root / key
    try:
        if folder.is_dir() and damage(folder) is None:
            return folder
        root.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            if not folder.is_dir() or (problem := damage(folder)):
                if folder.is_dir():
                    log.warning("prepared data in %s is damaged: %s; preparing it again", folder, problem)
                    shutil.rmtree(folder)
                _build(folder, build)
    except OSError as error:
        raise DataError(
            f"prepared data cannot be written below {root}: got {error.strerror or error}",
            "make room there, or set XTUNE_CACHE to another folder",
        ) from error
    return folder


def damage(folder: Path) -> str | None:
    """What is wrong with a folder of prepared data, by the size and content of every file; None where nothing is."""
    try:
        for name, (size, digest) in _index(folder)["files"].items():
            if (found := (folder / name).stat().st_size) != size:
                return f"{name} has {found} bytes, expected {size}"
            if file_digest(folder / name) != digest:
                return f"the content of {name} was changed"
    except (OSError, DataError) as error:
        return str(error)
    return None


def _index(folder: Path) -> Content:
    """What the index of a folder says. Raises DataError where anything in it was changed."""
    index = read_json(folder / INDEX, what="index of prepared data", error=DataError, shape=Index)
    if index["check"] != text_digest(_canonical(index["entry"])):
        raise DataError(f"{INDEX} was changed", "prepare the data again")
    entry: Content = index["entry"]
    return entry


def about(folder: Path) -> dict[str, Any]:
    """What the builder of a whole folder said of it."""
    return _index(folder)["about"]


def entries(root: Path) -> list[Entry]:
    """The folders of prepared data below `root`, the newest first. Of one that cannot be read, `about` is empty.

    Other folders are not counted: the cache may have been put where other things lie. Raises DataError where `root`
    cannot be read.
    """
    listed = []
    try:
        folders = [place for place in root.iterdir() if _is_entry(place)] if kind(root, DataError) == "folder" else []
    except OSError as error:
        raise unusable(root, error, DataError) from error
    for folder in folders:
        with suppress(FileNotFoundError):  # renamed or cleared meanwhile by another process
            try:
                said = about(folder)
            except DataError:
                said = {}
            listed.append((folder.lstat().st_mtime, Entry(folder, _size(folder), said)))
    return [entry for _, entry in sorted(listed, key=lambda pair: pair[0], reverse=True)]


def _is_entry(folder: Path) -> bool:
    """Whether a folder is prepared data or a part of it: `cached` left its lock beside, or all that its index says."""
    if not folder.is_dir() or folder.is_symlink():
        return False
    lock = folder.with_name(f"{folder.name.removesuffix('.part')}.lock")
    return os.path.lexists(lock) or damage(folder) is None


def _size(folder: Path) -> int:
    """Bytes of the files below a folder; those of what cannot be looked at are not counted."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                size += os.lstat(os.path.join(place, name)).st_size
    return size


def clear(root: Path) -> tuple[int, int]:
    """Deletes all prepared data below `root` but what is being made. Returns how many entries, and their bytes."""
    from filelock import Timeout

    number = freed = 0
    for folder, size, _ in entries(root):
        try:
            with _lock(root / folder.name.removesuffix(".part"), wait=False):
                shutil.rmtree(folder)
        except Timeout:
            continue
        except OSError as error:
            raise DataError(f"{folder} cannot be deleted: got {error.strerror}", "check its permissions") from error
        number, freed = number + 1, freed + size
    return number, freed


def _build(folder: Path, build: Callable[[Path], dict[str, Any]]) -> None:
    """Fills a folder beside `folder` and renames it. The lock is held: what lies there is left of a killed process."""
    stage = folder.with_name(folder.name + ".part")
    with whole_folder(folder, stage):
        about = build(stage)
        files = {file.name: [file.stat().st_size, file_digest(file)] for file in sorted(stage.iterdir())}
        entry = {"files": files, "about": {**about, "made": time.strftime("%Y-%m-%d %H:%M")}}
        index = {"check": text_digest(_canonical(entry)), "entry": entry}
        (stage / INDEX).write_text(json.dumps(index, indent=1, ensure_ascii=False), encoding="utf-8")


def _lock(folder: Path, wait: bool = True) -> Any:
    """A held lock on the making of `folder`; the system frees it when its process ends, however it ends."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder.with_name(folder.name + ".lock"))
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise
        log.info("another process prepares the same data; waiting for it")
        return lock.acquire()


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
