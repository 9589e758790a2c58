"""What distinguishes a base model from another of the same shape: a digest of its weights.

An adapter is the difference to one set of weights. It records which, in xtune_base.json: {"path": ..., "digest": ...}.
Adapters made by others have no such file, and are taken as they come.
"""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from xtune.atomic import text_digest
from xtune.errors import ModelError
from xtune.foreign import read_json
from xtune.models.config_file import read_config, told_in_one_line
from xtune.models.place import local_folder
from xtune.models.weight_files import kept_digest, weight_files
from xtune.paths import packaged

log = logging.getLogger(__name__)

BASE_FILE = "xtune_base.json"
SHOWN = 12
"""Digits of a digest in a message."""

Base = dict[str, str]
"""{"path", "digest"} of a base model."""


def identify(path: str | Path) -> Base | None:
    """The model at `path` (see load_model) with the digest of its weights; None for one that is not downloaded yet.

    Every byte is read once, a GiB in about half a second from memory; the digest is kept in the cache for as long as
    the files' sizes and times stay as they are.
    """
    files = _files(path)
    if not files:
        return None
    with ThreadPoolExecutor(4) as pool:
        digests = list(pool.map(kept_digest, files))
    return {"path": str(path), "digest": text_digest("".join(digests))}


def refuse_other_base(what: str, recorded: Base | None, path: str | Path, *, other_base: bool = False) -> None:
    """Raises ModelError where the weights at `path` are not those that `what`, an adapter, was trained on.

    With `other_base` that is allowed, and warned of. Nothing is said where nothing is `recorded`.
    """
    if recorded is None:
        return
    found = identify(path)
    if found is None:
        log.warning("%s is not downloaded yet: its weights are not compared with those of %s", path, what)
    elif found["digest"] != recorded["digest"]:
        fact = (
            f"{what} was trained on other weights: on {recorded['path']} ({recorded['digest'][:SHOWN]}), "
            f"got {path} ({found['digest'][:SHOWN]})"
        )
        if not other_base:
            raise ModelError(fact, "give that model, or go on all the same with --other-base")
        log.warning("%s; going on all the same", fact)


def save_base(base: Base | None, folder: Path) -> None:
    """Writes which base the weights in `folder` belong to, where that is known."""
    if base is not None:
        (folder / BASE_FILE).write_text(json.dumps(base, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def recorded_base(folder: str | Path) -> Base | None:
    """The base that the adapter in `folder`, or a checkpoint, was trained on; None where it does not say."""
    for name, shape in ((BASE_FILE, Base), ("xtune_run.json", dict[str, Any])):
        if (file := Path(folder, name)).is_file():
            found = read_json(file, what="record of the base model", error=ModelError, shape=shape)
            base = found if name == BASE_FILE else found.get("base")
            return base if isinstance(base, dict) and {"path", "digest"} <= base.keys() else None
    return None


def _files(path: str | Path) -> list[Path]:
    """The weight files of a model; a GGUF file itself, not what it was converted to. None of what is not downloaded."""
    from huggingface_hub import try_to_load_from_cache

    place = Path(packaged(str(path), ModelError))
    if place.suffix == ".gguf" and place.is_file():
        return [place]
    folder = local_folder(path)
    if not Path(folder).is_dir():
        with told_in_one_line(path):
            found = try_to_load_from_cache(folder, "config.json")
        if not isinstance(found, str):
            return []
        folder = str(Path(found).parent)
    with told_in_one_line(path):
        config = read_config(folder)[0]
    try:
        return weight_files(Path(folder), config)
    except ModelError:
        if Path(path).exists():
            raise
        return []  # of a hub id, config.json was downloaded before the weights
