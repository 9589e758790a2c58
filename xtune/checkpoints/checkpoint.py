"""Checkpoints: folders that are whole or not there.

    WORK_DIR/checkpoints/step_20/
        adapter_config.json, adapter_model.safetensors   trained weights of LoRA and QLoRA, as plain peft loads them, or
        config.json, model*.safetensors                   of full tuning, as plain transformers loads them (float32)
        xtune_template.json     the chat template that was trained (xtune.templates.store)
        xtune_config.json       the config's values
        xtune_run.json          versions, plugins, fingerprint of the data
        journals/*.jsonl        the rows of the run's journals up to this step
        state/trainer.json      step, ranks, whether the optimizer's state is sharded, whether an evaluation is due
        state/rank_0.*          optimizer state of a rank; of rank 0 alone where all ranks hold the same
        manifest.json           see Manifest
    WORK_DIR/checkpoints/best.json  {"step": 20, "loss": 1.5}, where the best one is kept

A checkpoint is written to `.step_20.partial`, flushed to disk, hashed, and then renamed: a reader sees all of it or
nothing. The manifest is written last, names every file, and holds its own digest. Nothing in it is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from xtune.atomic import flush, give_usual_rights, whole_file
from xtune.errors import CheckpointError
from xtune.foreign import checked, foreign, read_json

log = logging.getLogger(__name__)

FORMAT = 2
MANIFEST = "manifest.json"
FOLDER = "checkpoints"
CONFIG_FILE = "xtune_config.json"
RUN_FILE = "xtune_run.json"
HALF_FILE = re.compile(r"\..+\.[0-9a-f]{8}")
"""What xtune.atomic writes to, before it is renamed."""
ANOTHER = "give another checkpoint, or the work dir"


class File(BaseModel):
    """A file of a checkpoint, as the manifest has it."""

    model_config = ConfigDict(extra="forbid")
    bytes: int
    sha256: str


class Manifest(BaseModel):
    """What manifest.json holds. `sha256` is the digest of all its other values."""

    model_config = ConfigDict(extra="forbid")
    format: Literal[2]
    step: int
    weights: Literal["adapter", "full"]
    scheduled: bool
    """Whether the run as it was planned writes a checkpoint at this step; else only a signal asked for it."""
    files: dict[str, File]
    sha256: str


def find_checkpoint(path: str | Path) -> Path:
    """The checkpoint at `path`, checked, or the newest good one of the work dir `path`.

    Of a work dir's checkpoints, damaged ones are passed over, each with a line in the log. Raises CheckpointError
    where there is none, or for a checkpoint given by its own path that is damaged.
    """
    path = Path(path)
    if (path / MANIFEST).is_file() or path.name.startswith("step_"):
        verify(path)
        return path
    for candidate in reversed(list_checkpoints(path)):
        try:
            verify(candidate)
            return candidate
        except CheckpointError as error:
            if not candidate.exists():  # the run that writes here has deleted it in the meantime
                return find_checkpoint(path)
            log.warning("%s; the one before it is tried", error)
    raise CheckpointError(
        f"there is no good checkpoint: got `{path}`", f"give a work dir, or one of its {FOLDER}/step_N"
    )


def list_checkpoints(work_dir: str | Path) -> list[Path]:
    """Checkpoint folders of a work dir, oldest first, good or not."""
    found = [
        path for path in Path(work_dir, FOLDER).glob("step_*") if path.name[5:].isascii() and path.name[5:].isdigit()
    ]
    return sorted(found, key=lambda path: int(path.name[5:]))


def read_manifest(checkpoint: str | Path) -> dict[str, Any]:
    """The manifest of a checkpoint folder. Raises CheckpointError where there is none, or one that was changed."""
    what = f"checkpoint {checkpoint} has no readable {MANIFEST}:"
    manifest = read_json(Path(checkpoint, MANIFEST), what=what, error=CheckpointError, hint=ANOTHER)
    if manifest.get("format") != FORMAT:
        raise CheckpointError(
            f"checkpoint {checkpoint} is of another version of xtune: its format is not {FORMAT}",
            "resume with the version named in its xtune_run.json",
        )
    if manifest.get("sha256") != _digest(manifest):
        raise CheckpointError(f"checkpoint {checkpoint} is damaged: the content of {MANIFEST} has changed", ANOTHER)
    checked(manifest, Manifest, where=f"{what} it", error=CheckpointError, hint=ANOTHER)
    return manifest


def _digest(manifest: dict[str, Any]) -> str:
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def verify(checkpoint: Path) -> dict[str, Any]:
    """Compares every file with the manifest, which is returned. Raises CheckpointError that names the damaged file."""
    manifest = read_manifest(checkpoint)
    for name, wanted in manifest["files"].items():
        file = checkpoint / name
        if not file.is_file():
            raise CheckpointError(f"checkpoint {checkpoint} is damaged: {name} is missing", ANOTHER)
        with foreign(f"checkpoint {checkpoint} cannot be read", CheckpointError, ANOTHER):
            size, found = file.stat().st_size, _sha256(file)
        if size != wanted["bytes"]:
            raise CheckpointError(
                f"checkpoint {checkpoint} is damaged: {name} has {size} bytes, not {wanted['bytes']}", ANOTHER
            )
        if found != wanted["sha256"]:
            raise CheckpointError(f"checkpoint {checkpoint} is damaged: the content of {name} has changed", ANOTHER)
    return manifest


@contextmanager
def while_there(checkpoint: Path) -> Iterator[None]:
    """Around code that reads a verified checkpoint, which the run that wrote it may delete as one too many."""
    try:
        yield
    except (OSError, CheckpointError):
        if checkpoint.exists():
            raise
    if not checkpoint.exists():
        raise CheckpointError(
            f"checkpoint {checkpoint} was deleted while it was read, by a run that goes on",
            "give the work dir again: its newest one is taken",
        )


def staging_folder(work_dir: Path, step: int) -> Path:
    """Where the checkpoint of `step` is put together."""
    return work_dir / FOLDER / f".step_{step}.partial"


def publish(work_dir: Path, step: int, facts: dict[str, Any]) -> Path:
    """Makes a checkpoint of the staging folder: flushes, hashes, writes the manifest with `facts`, renames."""
    staging, final = staging_folder(work_dir, step), work_dir / FOLDER / f"step_{step}"
    give_usual_rights(staging)
    files = {}
    for file in sorted(path for path in staging.rglob("*") if path.is_file()):
        flush(file)
        files[file.relative_to(staging).as_posix()] = {"bytes": file.stat().st_size, "sha256": _sha256(file)}
    manifest = {"format": FORMAT, "step": step, **facts, "files": files}
    write_json(staging / MANIFEST, manifest | {"sha256": _digest(manifest)})
    for folder in [*(path for path in staging.rglob("*") if path.is_dir()), staging]:
        flush(folder)
    _put_in_place(staging, final)
    return final


def _put_in_place(staging: Path, final: Path) -> None:
    """Renames. One that is there already is damaged, or lacks an evaluation that was made up for."""
    doomed = _set_aside(final) if os.path.lexists(final) else None
    os.rename(staging, final)
    flush(final.parent)
    if doomed:
        _delete(doomed)


def prune(work_dir: Path, keep: int, best: int | None) -> None:
    """Deletes all but the newest checkpoint, the newest `keep` that were scheduled, and the one of step `best`."""
    found = list_checkpoints(work_dir)
    kept = [*[path for path in found if _is_scheduled(path)][-keep:], *found[-1:]]
    for checkpoint in found:
        if checkpoint not in kept and checkpoint.name != f"step_{best}":
            discard(checkpoint)


def _is_scheduled(checkpoint: Path) -> bool:
    try:
        return bool(read_manifest(checkpoint)["scheduled"])
    except CheckpointError:
        return True


def discard(checkpoint: Path) -> None:
    """Deletes a folder. It is renamed first, so that one that is half deleted is no checkpoint."""
    _delete(_set_aside(checkpoint))


def _set_aside(checkpoint: Path) -> Path:
    doomed = checkpoint.with_name(f".{checkpoint.name}.deleted")
    if os.path.lexists(doomed):
        _delete(doomed)
    os.rename(checkpoint, doomed)
    return doomed


def _delete(folder: Path) -> None:
    """Deletes a folder, or a link, but not what that points to."""
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink()
    else:
        shutil.rmtree(folder)


def sweep(work_dir: Path) -> None:
    """Deletes what an interrupted run left half written or half deleted. One that only lacks its name gets it."""
    place = work_dir / FOLDER
    for staging in place.glob(".step_*.partial"):
        final = place / staging.name.removeprefix(".").removesuffix(".partial")
        if _is_whole(staging):
            _put_in_place(staging, final)
        else:
            _delete(staging)
    for folder in place.glob(".step_*.deleted"):
        _delete(folder)
    for path in (*work_dir.glob(".*"), *place.glob(".*")):
        if HALF_FILE.fullmatch(path.name):
            path.unlink()


def _is_whole(staging: Path) -> bool:
    try:
        return not staging.is_symlink() and bool(verify(staging))
    except CheckpointError:
        return False


def adopt(checkpoint: Path, work_dir: Path) -> None:
    """Copies a checkpoint into another work dir."""
    staging = work_dir / FOLDER / f".{checkpoint.name}.partial"
    shutil.copytree(checkpoint, staging)
    for path in [*staging.rglob("*"), staging]:
        flush(path)
    _put_in_place(staging, work_dir / FOLDER / checkpoint.name)


def write_json(path: Path, value: Any) -> None:
    """Writes and flushes a JSON file."""
    with path.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def replace_json(path: Path, value: Any) -> None:
    """Replaces a JSON file: a reader sees the old one or the new one."""
    with whole_file(path) as beside:
        write_json(beside, value)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
