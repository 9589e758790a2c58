"""Where a run goes on from, and with which changes.

What changes the result is refused; what does not is free.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from xtune.checkpoints.checkpoint import (
    CONFIG_FILE,
    RUN_FILE,
    discard,
    find_checkpoint,
    list_checkpoints,
    read_manifest,
)
from xtune.data.order import SHUFFLED
from xtune.dist import ranks
from xtune.errors import CheckpointError, XtuneError
from xtune.models.identity import refuse_other_base

log = logging.getLogger(__name__)

FREE = (
    "data.",  # the prepared data are compared instead
    "checkpoint.",
    "evaluation.every",
    "evaluation.prompts",
    "evaluation.system",
    "evaluation.max_new_tokens",
    "evaluation.patience",
    "callbacks",
    "visualizers",
    "model.path",
    "model.tokenizer",
    "train.gradient_checkpointing",
)
SPLIT = ("train.batch_size", "train.accumulate")
"""Free as long as a step has the same number of packs."""
SAID = ("train.epochs", "train.max_steps", "train.compile", "distributed")
"""Sound, but from here on the run is another one than if it had gone on: that is said."""


def find_source(
    work_dir: Path, resume: str | Path | None, about: dict[str, Any], *, other_base: bool = False
) -> Path | None:
    """The checkpoint to go on from, compared with what this run is; None to start from the beginning.

    The first rank looks, so that all ranks take the same one. Checkpoints of the work dir after it are deleted: they
    are damaged, or the user asked to go back behind them.
    """
    if resume is None:
        return None
    found: Path | None = None
    problem: XtuneError | None = None
    if ranks.rank() == 0:
        try:
            found = _find(work_dir, resume, about, other_base)
        except XtuneError as error:
            problem = error
    found, problem = ranks.gather((found, problem))[0]
    if problem is not None:
        raise problem
    return found


def _find(work_dir: Path, resume: str | Path, about: dict[str, Any], other_base: bool) -> Path | None:
    if resume == "auto" and not list_checkpoints(work_dir):
        log.info("nothing to resume in %s: starting from the beginning", work_dir)
        return None
    found = find_checkpoint(work_dir if resume == "auto" else resume)
    before = json.loads((found / RUN_FILE).read_text(encoding="utf-8"))
    check_resume(
        json.loads((found / CONFIG_FILE).read_text(encoding="utf-8")),
        about["config"],
        packs_before=before["packs_a_step"],
        packs_now=about["packs_a_step"],
    )
    check_data(before["data"]["fingerprint"], about["data"]["fingerprint"])
    check_order(before["data"], about["data"])
    if read_manifest(found)["weights"] == "adapter":  # full tuning keeps nothing of its base
        path = about["config"]["model"]["path"]
        refuse_other_base(f"checkpoint {found}", before.get("base"), path, other_base=other_base)
    mine, here = [path.resolve() for path in list_checkpoints(work_dir)], found.resolve()
    if mine and here not in mine:
        raise CheckpointError(
            f"work dir {work_dir} holds a run of its own, up to {mine[-1].name}: it cannot go on from {found} too",
            "go on from its own with --resume alone, or choose another --work-dir",
        )
    for later in mine[mine.index(here) + 1 :] if mine else []:
        log.warning("%s is deleted: the run goes on from %s", later.name, found.name)
        discard(later)
    log.info("resumed from %s", found)
    return found


def check_resume(before: dict[str, Any], now: dict[str, Any], *, packs_before: int, packs_now: int) -> None:
    """Compares two configs' values. `packs_before` and `packs_now` are packs a step, over all ranks.

    Raises CheckpointError that names the first setting that may not change.
    """
    old, new = {"objective.name": "sft"} | _flat(before), _flat(now)  # older checkpoints do not say it
    if packs_before != packs_now:
        raise CheckpointError(
            f"cannot resume with another batch: a step had {packs_before} packs, now it has {packs_now} "
            "(train.batch_size x train.accumulate x ranks)",
            "set them so that it is the same",
        )
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) == new.get(key) or key.startswith(FREE) or key in SPLIT:
            continue
        change = f"{key} was {old.get(key)!r} and is {new.get(key)!r}"
        if not key.startswith(SAID):
            raise CheckpointError(
                f"cannot resume with another config: {change}", "set it back, or use another work dir"
            )
        log.warning("resumed with a change: %s", change)


def check_data(before: str, now: str) -> None:
    if before != now:
        raise CheckpointError(
            "cannot resume with other data: the prepared rows are not those of the checkpoint",
            "put the data back, or use another work dir",
        )


def check_order(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Compares the rules of the order. Older checkpoints name none: only packed rows came shuffled."""
    if before.get("order", SHUFFLED) != now["order"]:
        raise CheckpointError(
            f"cannot resume: the checkpoint's version of xtune took the rows in another order, now `{now['order']}`",
            "start in another work dir, or resume with the version that is named in the checkpoint's xtune_run.json",
        )


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    items = values.items() if isinstance(values, dict) else enumerate(values)
    result: dict[str, Any] = {}
    for key, value in items:
        if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value)):
            result |= _flat(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return result
