"""Checkpoints: folders that are whole or not there.

    WORK_DIR/checkpoints/step_20/
        adapter_config.json, adapter_model.safetensors   trained weights of LoRA and QLoRA, as plain peft loads them, or
        config.json, model*.safetensors                   of full tuning, as plain transformers loads them (float32)
        xtune_template.json     the chat template that was trained (xtune.templates.store)
        xtune_config.json       the config's values
        xtune_run.json          versions, plugins, fingerprint of the data
        state/trainer.json      step, ranks, and whether the optimizer's state is cut by rank
        state/rank_0.*          optimizer state of a rank; of rank 0 alone where all ranks hold the same
        manifest.json           {"format": 1, "step": 20, "weights": "adapter" or "full",
                                 "files": {name: {"bytes": ..., "sha256": ...}}}
    WORK_DIR/checkpoints/best.json  {"step": 20, "loss": 1.5}, where the best one is kept

A checkpoint is written to `.step_20.partial`, flushed to disk, hashed, and then renamed: a reader sees all of it or
nothing. The manifest is written last and names every file. Nothing in it is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xtune.atomic import flush, give_usual_rights, system_error, whole_file
from xtune.errors import CheckpointError

log = logging.getLogger(__name__)

FORMAT = 1
MANIFEST = "manifest.json"
FOLDER = "checkpoints"
CONFIG_FILE = "xtune_config.json"
RUN_FILE = "xtune_run.json"


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
            log.warning("%s; the one before it is tried", error)
    raise CheckpointError(f"there is no good checkpoint: got {path}; give a work dir, or one of its {FOLDER}/step_N")


def list_checkpoints(work_dir: str | Path) -> list[Path]:
    """Checkpoint folders of a work dir, oldest first, good or not."""
    found = [path for path in Path(work_dir, FOLDER).glob("step_*") if path.name[5:].isdigit()]
    return sorted(found, key=lambda path: int(path.name[5:]))


def read_manifest(checkpoint: str | Path) -> dict[str, Any]:
    """The manifest of a checkpoint folder. Raises CheckpointError where there is none that can be read."""
    path = Path(checkpoint, MANIFEST)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"checkpoint {checkpoint} has no readable {MANIFEST}: {_reason(error)}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CheckpointError(f"checkpoint {checkpoint} is of another version of xtune: its format is not {FORMAT}")
    return manifest


def verify(checkpoint: Path) -> dict[str, Any]:
    """Compares every file with the manifest, which is returned. Raises CheckpointError that names the damaged file."""
    manifest = read_manifest(checkpoint)
    for name, wanted in manifest["files"].items():
        file = checkpoint / name
        if not file.is_file():
            raise CheckpointError(f"checkpoint {checkpoint} is damaged: {name} is missing")
        if file.stat().st_size != wanted["bytes"]:
            raise CheckpointError(
                f"checkpoint {checkpoint} is damaged: {name} has {file.stat().st_size} bytes, not {wanted['bytes']}"
            )
        if _sha256(file) != wanted["sha256"]:
            raise CheckpointError(f"checkpoint {checkpoint} is damaged: the content of {name} has changed")
    return manifest


def staging_folder(work_dir: Path, step: int) -> Path:
    """Where the checkpoint of `step` is put together."""
    return work_dir / FOLDER / f".step_{step}.partial"


def publish(work_dir: Path, step: int, facts: dict[str, Any]) -> Path:
    """Makes a checkpoint of the staging folder: flushes, hashes, writes the manifest with `facts`, renames."""
    staging, final = staging_folder(work_dir, step), work_dir / FOLDER / f"step_{step}"
    give_usual_rights(staging)
    files = sorted(path for path in staging.rglob("*") if path.is_file())
    manifest = {"format": FORMAT, "step": step, **facts, "files": {}}
    for file in files:
        flush(file)
        manifest["files"][file.relative_to(staging).as_posix()] = {
            "bytes": file.stat().st_size,
            "sha256": _sha256(file),
        }
    write_json(staging / MANIFEST, manifest)
    for folder in [*(path for path in staging.rglob("*") if path.is_dir()), staging]:
        flush(folder)
    if final.exists():  # a damaged one, which the run went back behind
        discard(final)
    os.rename(staging, final)
    flush(final.parent)
    return final


def prune(work_dir: Path, keep: int, best: int | None) -> None:
    """Deletes all but the newest `keep` checkpoints and the one of step `best`."""
    for checkpoint in list_checkpoints(work_dir)[:-keep]:
        if checkpoint.name != f"step_{best}":
            discard(checkpoint)


def discard(checkpoint: Path) -> None:
    """Deletes a folder. It is renamed first, so that one that is half deleted is no checkpoint."""
    doomed = checkpoint.with_name(f".{checkpoint.name}.deleted")
    shutil.rmtree(doomed, ignore_errors=True)
    os.rename(checkpoint, doomed)
    shutil.rmtree(doomed)


def sweep(work_dir: Path) -> None:
    """Deletes what an interrupted run left half written or half deleted."""
    for pattern in (".step_*.partial", ".step_*.deleted"):
        for folder in (work_dir / FOLDER).glob(pattern):
            shutil.rmtree(folder)


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


def told_as_checkpoint_error(step: int, work_dir: Path, write: Callable[[], None]) -> str | None:
    """Calls `write`. What the disk refuses comes back as one line; the staging folder is deleted then."""
    try:
        write()
        return None
    except Exception as error:
        refused = system_error(error)
        if refused is None:
            raise
        shutil.rmtree(staging_folder(work_dir, step), ignore_errors=True)
        good = [path.name for path in list_checkpoints(work_dir)]
        return (
            f"the checkpoint of step {step} cannot be written to {work_dir}: {_reason(refused)}; "
            f"make room or rights there ({', '.join(good) or 'no earlier checkpoint'} kept)"
        )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
