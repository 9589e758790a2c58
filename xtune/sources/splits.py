"""Which files of a folder are a split: train, test or validation, by what their names and folders say."""

from __future__ import annotations

import re
from pathlib import Path

from xtune.errors import DataError, suggestion

_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test", "eval": "test",
           "evaluation": "test", "validation": "validation", "valid": "validation", "val": "validation",
           "dev": "validation"}  # fmt: skip
_WORDS = re.compile("[a-z]+")
_NUMBERS = re.compile(r"_?\d+(?:_of_\d+)?")
_SHARD = re.compile(r"-\d+-of-\d+")


def of_split(folder: Path, known: list[Path], split: str) -> list[Path]:
    """Of the files `known` in a folder those of `split`; all where none names a split.

    A split of exactly that name goes before those that only have its word in their names: train before train_sft.
    Raises DataError where none is of it, or several splits may be meant.
    """
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
            f"folder {folder} has several splits of this kind: got `{split}`, which may be {' or '.join(kinds)}",
            f"name one, such as split={kinds[0]}",
        )
    if not found:
        there = sorted({name for name in names.values() if name})
        raise DataError(f"folder {folder} has no such split: got `{split}`", suggestion(split, there))
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
