"""The memory and the disk that a run needs, beside what there is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from xtune.check.finding import Finding, refused
from xtune.errors import XtuneError
from xtune.estimate.memory import GIB, checkpoint_bytes
from xtune.estimate.plan import RESERVED_GIB, Estimate, Setting, advice, estimate, planned, setting_of
from xtune.paths import is_local
from xtune.text import in_bytes
from xtune.training.layers import free_memory
from xtune.training.versions import device_name
from xtune.tuning.tuning import TuningError

if TYPE_CHECKING:
    from xtune.run import Run

HOPELESS = 1.5
"""A run that is estimated to need so many times the memory there is cannot start; estimates are off by less."""


def room(run: Run, work_dir: Path, ranks: int) -> Iterator[Finding]:
    """The estimate of `xtune plan` beside the memory and the disk there are; unknown where there is none."""
    import torch

    gpu = torch.cuda.is_available()
    have = free_memory(torch.device("cuda" if gpu else "cpu")) / GIB / (1 if gpu else ranks)
    setting = setting_of(run.config, ranks if gpu else 0, have, run.objective.sequences)
    try:
        found = estimate(run, setting, ranks)
    except XtuneError as error:
        misfit = isinstance(error, TuningError)
        yield refused("tuning", error) if misfit else refused("memory", error, "unknown")
        yield Finding("disk", "unknown", f"{in_bytes(free_disk(work_dir))} free at {work_dir}")
        return
    yield Finding("tuning", "ok", f"{found.needed.trained:,} weights are trained, {found.said}")
    yield memory(found, setting)
    yield from disk(found.run, found.needed.trained, work_dir)


def memory(found: Estimate, setting: Setting) -> Finding:
    run, needed, have = found.run, found.needed, setting.gpu_gib
    each = found.memory.total / GIB + RESERVED_GIB
    fact = f"about {each:.1f} GiB, {have:.1f} GiB are free on {device_name()}"
    if each <= have:
        return Finding("memory", "ok", fact)
    cures = advice(needed, setting, run.quantization, planned(run.components.strategies))
    return Finding(
        "memory",
        "error" if each > HOPELESS * have else "warning",
        fact,
        f"{cures[0]} (xtune plan says more)",
    )


def disk(run: Run, trained: int, work_dir: Path) -> Iterator[Finding]:
    """Room for the checkpoints, and for what has to be downloaded first."""
    config = run.config
    kept = config.checkpoint.keep + 1 + config.checkpoint.best
    checkpoint = checkpoint_bytes(trained, run.optimizer)
    wanted = [(work_dir, kept * checkpoint, f"{kept} checkpoints")]
    if not is_local(config.model.path):
        from huggingface_hub.constants import HF_HUB_CACHE

        wanted.append((Path(HF_HUB_CACHE), 2.0 * run.model.parameters, "the download"))
    for folder, size, purpose in wanted:
        free = free_disk(folder)
        fact = f"{in_bytes(size)} for {purpose}, {in_bytes(free)} free at {folder}"
        if size > free:
            yield Finding("disk", "error", fact, "free some, or choose another place")
        else:
            yield Finding("disk", "ok", fact)


def free_disk(folder: Path) -> int:
    """Bytes that are free for a folder, or where the nearest one above it is that is there."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if os.path.isdir(place))
    return shutil.disk_usage(there).free
