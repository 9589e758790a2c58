"""Where things are on this machine: files inside packages, and the cache."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = "package:"


def packaged(path: str) -> str:
    """`package:MODULE/FILE` -> the file's path inside that installed package; any other path comes back as it is.

    Raises ModuleNotFoundError where the package is not installed; that the file exists is for the caller to check.
    """
    if not path.startswith(PACKAGE):
        return path
    from importlib.util import find_spec

    module, _, file = path[len(PACKAGE) :].partition("/")
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"package {module!r} is not installed: got {path}; install it, or give another path")
    return str(Path(next(iter(spec.submodule_search_locations)), file))


def is_local(path: str) -> bool:
    """Whether a path of a model or of data is on this machine, so that nothing has to be downloaded."""
    try:
        return Path(packaged(path)).exists()
    except ModuleNotFoundError:
        return False


def cache_root() -> Path:
    """The folder of everything that can be made again: $XTUNE_CACHE, or xtune below the user's cache folder."""
    chosen = os.environ.get("XTUNE_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "xtune"
