"""Log-probabilities by the model as it is before training, which preference objectives compare with.

They are made once, before the first step, and go with each checkpoint. So no second model is held, and a run that goes
on compares with the same numbers, bit for bit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xtune.dist import ranks
from xtune.errors import CheckpointError
from xtune.evaluation.held_out import forward_all

if TYPE_CHECKING:
    from xtune.data.collate import Batch
    from xtune.data.dataset import Dataset, Packs
    from xtune.data.pack import Pack
    from xtune.distributed.parallel import Parallel

FILE = "state/reference.npy"
NAME = "reference"

log = logging.getLogger(__name__)


def reference_log_probs(
    parallel: Parallel, splits: Sequence[Packs], collate: Callable[[Sequence[Pack]], Batch], batch_size: int
) -> np.ndarray:
    """The log-probability of each sequence of each Example, float64 (examples, sequences); NaN for one of no pack."""
    log.info("computing the log-probabilities of %d packs before training", sum(map(len, splits)))
    found = []
    for packs in splits:
        for chosen, batch, log_probs in forward_all(parallel, packs, collate, batch_size):
            examples = [packs.layout[index] for index in chosen]
            found.append((examples, batch.by_sequence(log_probs).cpu().numpy()))
    whole = np.full((splits[0].examples, splits[0].sequences), np.nan)
    for examples, values in (part for rank in ranks.gather(found) for part in rank):
        if examples:
            whole[np.concatenate(examples)] = values
    return whole


def with_reference(dataset: Dataset, log_probs: np.ndarray | None) -> Dataset:
    """The data set with the log-probabilities, where there are any, among the numbers of its Examples."""
    if log_probs is None:
        return dataset
    train, held_out = (
        replace(packs, numbers={**packs.numbers, NAME: log_probs}) for packs in (dataset.train, dataset.held_out)
    )
    return dataset._replace(train=train, held_out=held_out)


def load_reference(checkpoint: Path) -> np.ndarray:
    """What a checkpoint holds. Raises CheckpointError where it holds none."""
    try:
        found: np.ndarray = np.load(checkpoint / FILE)
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {checkpoint} has no {FILE}, which its objective needs",
            "train again, or resume from another one",
        ) from error
    return found


def save_reference(log_probs: np.ndarray, folder: Path) -> None:
    """Writes them into the folder of a checkpoint."""
    np.save(folder / FILE, log_probs)
