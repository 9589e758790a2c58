"""A path as a config has it -> the files it stands for."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection
from importlib import resources
from pathlib import Path

from xtune.errors import DataError, suggestion

_PACKAGE = "package:"
_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test", "eval": "test",
           "evaluation": "test", "validation": "validation", "valid": "validation", "val": "validation",
           "dev": "validation"}  # fmt: skip
_WORDS = re.compile("[a-z]+")
_NUMBERS = re.compile(r"_?\d+(?:_of_\d+)?")
_SHARD = re.compile(r"-\d+-of-\d+")
_CONVERT = {".xls": ".xlsx", ".xlsb": ".xlsx", ".ods": ".xlsx", ".md": ".txt", ".docx": ".txt", ".pdf": ".txt"}


def find_files(path: str, split: str, suffixes: Collection[str]) -> list[Path]:
    """The files that `path` names, sorted; none where nothing local has that name and it may be a hub id.

    Raises DataError for a file that is missing (with the nearest names beside it) or has an unknown suffix, and for a
    folder or glob without files or a folder with several kinds of them.
    """
    if path.startswith(_PACKAGE):
        return [_checked(_package_file(path), suffixes)]
    local = Path(path).expanduser()
    if local.is_dir():
        return _in_folder(local, split, suffixes)
    if local.exists():
        return [_checked(local, suffixes)]
    if glob.has_magic(path):
        found = sorted(Path(name) for name in glob.glob(str(local), recursive=True) if os.path.isfile(name))
        if not found:
            raise DataError(f"no file matches: got {path}; {_near(local)}")
        return [_checked(file, suffixes) for file in found]
    if hub_id(path) is None or file_suffix(local) in {*suffixes, *_CONVERT}:
        raise DataError(f"data file does not exist: got {path}; {_near(local)}")
    return []


def hub_id(path: str) -> tuple[str, str | None] | None:
    """Repository and folder in it, of `name`, `owner/name` or `owner/name/folder`; None where it cannot be an id."""
    match = re.fullmatch(r"((?:[\w-][\w.-]*/)?[\w-][\w.-]*)(?:/([\w./-]+))?", path, re.ASCII)
    if match is None or ("/" in path and Path(path.split("/")[0]).exists()):
        return None
    return match[1], match[2]


def file_suffix(path: Path) -> str:
    """The suffix that says the format: that before .gz where there is one."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return "".join(suffixes[-2:-1] if suffixes[-1:] == [".gz"] else suffixes[-1:])


def _checked(file: Path, suffixes: Collection[str]) -> Path:
    suffix = file_suffix(file)
    if suffix not in suffixes:
        advice = f"save it as {_CONVERT[suffix]}" if suffix in _CONVERT else "known are " + ", ".join(sorted(suffixes))
        raise DataError(f"{file} has an unknown suffix: got {suffix!r}; {advice}")
    return file


def _package_file(path: str) -> Path:
    module, _, inner = path.removeprefix(_PACKAGE).partition("/")
    try:
        root = Path(str(resources.files(module)))
    except (ImportError, TypeError, ValueError) as error:
        raise DataError(f"package {module!r} of {path} cannot be imported: got {error}; install it") from error
    file = root / inner
    if not file.is_file():
        raise DataError(f"package {module} has no such file: got {inner!r}; {_near(file)}")
    return file


def _in_folder(folder: Path, split: str, suffixes: Collection[str]) -> list[Path]:
    """Files of one kind below a folder; of those that name splits, the ones of `split`.

    A split of exactly that name goes before those that only have its word in their names: train before train_sft.
    """
    known = [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file()
        and file_suffix(file) in suffixes
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]
    kinds = sorted({file_suffix(file) for file in known})
    if not known:
        raise DataError(f"folder {folder} has no data files; known are {', '.join(sorted(suffixes))}")
    if len(kinds) > 1:
        raise DataError(f"folder {folder} has several kinds of data: got {', '.join(kinds)}; give {folder}/*{kinds[0]}")
    names = {file: _split_name(file.relative_to(folder), split) for file in known}
    if not any(names.values()):
        return known
    wanted = _SPLITS.get(split, split)
    for exact in (split, wanted):
        if exact in names.values():
            return [file for file in known if names[file] == exact]
    found = [file for file in known if _split_in(names[file] or "") == wanted]
    kinds = sorted({name for file in found if (name := names[file])})
    if len(kinds) > 1:
        raise DataError(
            f"folder {folder} has several splits of this kind: got {split!r}, which may be {' or '.join(kinds)}; "
            f"name one, such as split={kinds[0]}"
        )
    if not found:
        there = sorted({name for name in names.values() if name})
        raise DataError(f"folder {folder} has no such split: got {split!r}; {suggestion(split, there)}")
    return found


def _split_name(file: Path, wanted: str) -> str | None:
    """The split that a file's name or a folder above it speaks of, as `data/train-00000-of-00002.parquet` does.

    It is `wanted` where the name begins with that, and train_sft for train_sft-00000-of-00002.parquet or train_sft.csv;
    but train for alpaca_train.csv, which is a part of a split by its word, not by its name.
    """
    for part in reversed(file.with_suffix("").parts):
        name = re.split(r"\W", part, maxsplit=1)[0]
        bare = _NUMBERS.sub("", name)
        if wanted in (name, bare):
            return wanted
        split = _split_in(part)
        if split:
            whole = _SHARD.match(part, len(name)) or _split_in(bare.split("_")[0])
            return bare if whole and bare.lower() not in _SPLITS else split
    return None


def _split_in(name: str) -> str | None:
    """The split that a word of a name stands for; the last such word counts."""
    return next((_SPLITS[word] for word in reversed(_WORDS.findall(name.lower())) if word in _SPLITS), None)


def _near(missing: Path) -> str:
    parent = missing.parent
    if glob.has_magic(str(parent)) or not parent.is_dir():
        return f"there is no folder {parent}"
    names = [name for name in os.listdir(parent) if not name.startswith(".")]
    return suggestion(missing.name, names) if names else f"the folder {parent} is empty"
