"""A path as a config has it -> the files it stands for."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection
from fnmatch import fnmatchcase
from functools import cache
from glob import has_magic
from pathlib import Path

from xtune.errors import DataError, suggestion
from xtune.paths import DEAD_LINK, PACKAGE, kind, packaged, unusable
from xtune.sources.splits import of_split
from xtune.sources.walk import Entry, below, matching
from xtune.text import one_line

log = logging.getLogger(__name__)

_XLSX, _TEXT = "save it as .xlsx", "save it as .txt"
_UNPACK = "unpack it, or compress it with gzip (.gz)"
_ARROW = "load it with `datasets` and write it with its `to_parquet` or `to_json`"
_PARQUET = "write it as .parquet or .jsonl"
_DATA = {
    ".xls": _XLSX, ".xlsb": _XLSX, ".ods": _XLSX, ".arrow": _ARROW, ".feather": _PARQUET, ".orc": _PARQUET,
    ".avro": _PARQUET, ".zst": _UNPACK, ".xz": _UNPACK, ".bz2": _UNPACK, ".lz4": _UNPACK, ".lzma": _UNPACK,
}  # fmt: skip
"""Suffixes of data that nothing here reads, and what to do: beside data in a folder, they are not passed over."""
_ADVICE = {
    **_DATA, ".md": _TEXT, ".docx": _TEXT, ".pdf": _TEXT, ".zip": _UNPACK, ".7z": _UNPACK, ".rar": _UNPACK,
    ".tar": _UNPACK, ".tgz": _UNPACK,
}  # fmt: skip
_NO_ROWS = {
    "~$*": "is what Excel writes beside a workbook that is open",
    "__MACOSX": "is what macOS adds to an archive",
    "dataset_info*.json": "describes data and has no rows",
    "dataset_dict.json": "describes data and has no rows",
}
"""Names that look like data and are not."""


def find_files(path: str, split: str, suffixes: Collection[str]) -> list[Path]:
    """The files that `path` names, sorted; none where nothing local has that name and it may be a hub id.

    Raises DataError for a file that is missing (with the nearest names beside it), has an unknown suffix, or is none,
    such as a FIFO or a link to nothing; for what may not be looked at; and for a folder or pattern without files or a
    folder with several kinds of them.
    """
    local = Path(os.path.expanduser(packaged(path, DataError)))
    what = kind(local, DataError)
    if what == "folder" and not path.startswith(PACKAGE):
        return _in_folder(local, split, suffixes)
    if path.startswith(PACKAGE) and what in ("", "folder"):
        module, _, inner = path.removeprefix(PACKAGE).partition("/")
        raise DataError(f"package {module} has no such file: got `{inner}`", _near(local, suffixes))
    if what:
        return [_checked((local, what), suffixes)]
    if has_magic(path):
        found = [entry for entry in matching(str(local)) if not _is_no_data(entry[0], entry[0].parts[-2:])]
        if not found:
            raise DataError(f"no file matches: got `{path}`", _near(local, suffixes))
        return [_checked(entry, suffixes) for entry in found]
    if hub_id(path) is None or file_suffix(local) in {*suffixes, *_ADVICE}:
        raise DataError(f"data file does not exist: got `{path}`", _near(local, suffixes))
    return []


def hub_id(path: str) -> tuple[str, str | None] | None:
    """Repository and folder in it, of `name`, `owner/name` or `owner/name/folder`; None where it cannot be an id."""
    match = re.fullmatch(r"((?:[\w-][\w.-]*/)?[\w-][\w.-]*)(?:/([\w./-]+))?", path, re.ASCII)
    if match is None or ("/" in path and kind(path.split("/")[0], DataError)):
        return None
    return match[1], match[2]


def file_suffix(path: Path) -> str:
    """The suffix that says the format: that before .gz where there is one."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return "".join(suffixes[-2:-1] if suffixes[-1:] == [".gz"] else suffixes[-1:])


def _checked(entry: Entry, suffixes: Collection[str]) -> Path:
    file, what = entry
    suffix = file_suffix(file)
    if what == DEAD_LINK:
        raise DataError(f"{file} is {what}: got `{os.readlink(file)}`", "put the file there, or delete the link")
    if what != "file":
        raise DataError(f"{file} is no file: got `{what}`", "write the rows to a file, they are read more than once")
    if about := _no_rows((file.name,)):
        raise DataError(f"{file} {about}", "give the file that has the rows")
    if suffix not in suffixes:
        advice = _ADVICE.get(suffix) or "known are " + ", ".join(sorted(suffixes))
        raise DataError(f"{file} has an unknown suffix: got `{suffix}`", advice)
    return file


def _in_folder(folder: Path, split: str, suffixes: Collection[str]) -> list[Path]:
    """Files of one kind below a folder; of those that name splits, the ones of `split`."""
    found = [entry for entry in below(folder) if not _is_no_data(entry[0], entry[0].relative_to(folder).parts)]
    by_suffix: dict[str, list[Entry]] = {}
    for entry in found:
        suffix = file_suffix(entry[0])
        if suffix in suffixes or suffix in _DATA or entry[1] == DEAD_LINK:
            by_suffix.setdefault(suffix, []).append(entry)
    readable = sorted(by_suffix.keys() & set(suffixes), key=lambda suffix: (-len(by_suffix[suffix]), suffix))
    dead = [entry for entries in by_suffix.values() for entry in entries if entry[1] != "file"]
    if dead:
        _checked(dead[0], suffixes)
    if not readable:
        unread = "".join(f"; {suffix} is data that xtune does not read: {_DATA[suffix]}" for suffix in by_suffix)
        raise DataError(f"folder {folder} has no data files{unread}", f"known are {', '.join(sorted(suffixes))}")
    if len(by_suffix) > 1:
        nested = "**/" if any(file.parent != folder for file, _ in by_suffix[readable[0]]) else ""
        kinds = ", ".join(sorted(by_suffix))
        raise DataError(
            f"folder {folder} has several kinds of data: got `{kinds}`", f"give {folder}/{nested}*{readable[0]}"
        )
    return of_split(folder, [_checked(entry, suffixes) for entry in by_suffix[readable[0]]], split)


def _no_rows(parts: Collection[str]) -> str:
    """Why a path of these parts looks like data and is none; empty for all others."""
    return next((why for name, why in _NO_ROWS.items() if any(fnmatchcase(part, name) for part in parts)), "")


def _is_no_data(file: Path, parts: Collection[str]) -> bool:
    """Whether a file that nobody named only looks like data. That it is left out is said."""
    if about := _no_rows(parts):
        _say_once(f"{file} is left out: it {about}")
    return bool(about)


@cache
def _say_once(message: str) -> None:
    """Files are looked for several times in a run."""
    log.info("%s", message)


def _near(missing: Path, suffixes: Collection[str]) -> str:
    """What else is there: the names beside it that are most like it."""
    parent = missing.parent
    if has_magic(str(parent)) or kind(parent, DataError) != "folder":
        return f"there is no folder {parent}"
    try:
        names = [name for name in os.listdir(parent) if not name.startswith(".")]
    except OSError as caught:
        raise unusable(parent, caught, DataError) from caught
    return suggestion(missing.name, [one_line(name) for name in names]) if names else f"the folder {parent} is empty"
