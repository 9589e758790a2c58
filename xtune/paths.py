"""Where things are on this machine: files inside packages, the cache, and what a path stands for."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from xtune.errors import ConfigError, XtuneError
from xtune.text import one_line, shown

PACKAGE = "package:"

UNUSABLE = {
    errno.EACCES: "check the permissions of the file and of the folders above it",
    errno.EPERM: "check the permissions of the file and of the folders above it",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "its links lead to each other: remove one",
    errno.EIO: "the disk or the network drive fails: copy the file elsewhere",
    errno.ESTALE: "the network drive is gone: connect it again",
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room, the quota is used up",
    errno.EROFS: "choose a place that can be written",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}
"""What a user can do where the system refuses a file."""

_KINDS = {
    stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip
DEAD_LINK = "a link to what is not there"


def kind(path: str | Path, error: type[XtuneError]) -> str:
    """What is at `path`, links followed: "file", "folder", DEAD_LINK, another kind in words, or "" for nothing.

    Raises `error` where the system does not say, which is not the same as nothing.
    """
    try:
        return _KINDS.get(stat.S_IFMT(os.stat(path).st_mode), "neither a file nor a folder")
    except (FileNotFoundError, NotADirectoryError):
        return DEAD_LINK if os.path.islink(path) else ""
    except (OSError, ValueError) as caught:
        raise unusable(path, caught, error) from caught


def unusable(path: str | Path, caught: OSError | ValueError, error: type[XtuneError]) -> XtuneError:
    """The `error` of a path that the system refuses: a ValueError is one with a NUL or half a character."""
    if isinstance(caught, OSError):
        advice = UNUSABLE.get(caught.errno or 0, "check the path")
        return error(f"`{one_line(str(path), 200)}` cannot be read: got {caught.strerror}", advice)
    return error(f"`{one_line(str(path), 200)}` is no path: got `{caught}`", "leave those characters out")


def packaged(path: str, error: type[XtuneError] = ConfigError) -> str:
    """`package:MODULE/FILE` -> the file's path inside that installed package; any other path comes back as it is.

    MODULE may be a package inside another, `a.b`. Nothing of it is imported, for that would run its code. Raises
    `error` where there is no such package; that the file exists is for the caller to check.
    """
    if not path.startswith(PACKAGE):
        return path
    module, _, file = path[len(PACKAGE) :].partition("/")
    top, *inner = module.split(".")
    if not all(part.isidentifier() for part in (top, *inner)):
        raise error(f"{shown(module)} is no name of a package: got `{shown(path, 200)}`", "write package:MODULE/FILE")
    places = [Path(folder, *inner) for folder in _folders(top)]
    if not any(kind(place, error) == "folder" for place in places):
        raise error(f"package `{module}` is not installed: got `{path}`", "install it, or give another path")
    return str(next((place / file for place in places if kind(place / file, error)), places[0] / file))


def _folders(top: str) -> list[str]:
    """The folders of a package that is not inside another: only its finder runs, which knows where it lies."""
    from importlib.util import find_spec

    try:
        spec = find_spec(top)
    except ValueError:  # of __main__
        return []
    return list(spec.submodule_search_locations or []) if spec else []


def is_local(path: str) -> bool:
    """Whether a path of a model or of data is on this machine, so that nothing has to be downloaded."""
    try:
        return kind(packaged(path), ConfigError) in ("file", "folder")
    except ConfigError:
        return False


def cache_root() -> Path:
    """The folder of everything that can be made again: $XTUNE_CACHE, or xtune below the user's cache folder."""
    chosen = os.environ.get("XTUNE_CACHE")
    if chosen:
        return Path(os.path.expanduser(chosen))
    return Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache"), "xtune")
