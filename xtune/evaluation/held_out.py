"""What is measured between steps: the loss on held-out packs, and answers to the config's prompts."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from xtune.conversation import Turn
from xtune.dist import ranks
from xtune.distributed.parallel import Parallel
from xtune.errors import XtuneError
from xtune.foreign import reason

if TYPE_CHECKING:
    from xtune.data.collate import Batch
    from xtune.generate.generate import Generator
    from xtune.generate.session import Session
    from xtune.objectives.objective import Objective

log = logging.getLogger(__name__)


CHECK_EVERY = 8
"""Batches after which a long evaluation looks whether it should be broken off."""


@torch.no_grad()
def forward_all(
    parallel: Parallel,
    packs: Any,
    collate: Callable[[Sequence[Any]], Batch],
    batch_size: int,
    check: Callable[[], None] = lambda: None,
) -> Iterator[tuple[list[int], Batch, Tensor]]:
    """This rank's share of `packs`: indices, their batch, and the log-probabilities of its labels, without a graph.

    Sharded models need every rank in every forward: one that has nothing left takes part with an idle batch.
    `check` may break it off with an exception, on all ranks.
    """
    size, count = batch_size, ranks.world_size()
    parallel.module.eval()
    for number in range(math.ceil(len(packs) / (size * count))):
        if number % CHECK_EVERY == 0:
            check()
        start = (number * count + ranks.rank()) * size
        chosen = list(range(start, min(start + size, len(packs))))
        batch = collate([packs[index] for index in chosen or [0]])
        batch = batch if chosen else batch.idle()
        yield chosen, batch, parallel.module(batch.model_inputs(), batch.labels_BT)


@torch.no_grad()
def held_out_loss(
    parallel: Parallel,
    objective: Objective,
    packs: Any,
    collate: Callable[[Sequence[Any]], Batch],
    batch_size: int,
    check: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The mean loss of `packs`, and the objective's figures. The ranks share the work."""
    totals = torch.zeros(1 + len(objective.metrics), dtype=torch.float64, device=ranks.device())
    weight = trained = 0
    for _, batch, log_probs in forward_all(parallel, packs, collate, batch_size, check):
        loss, metrics = objective.loss(log_probs, batch)
        totals += torch.stack([loss, *(metrics[name] for name in objective.metrics)])
        weight, trained = weight + objective.weight(batch), trained + batch.trained
    *sums, weight_sum, trained_sum = ranks.sums(*totals, weight, trained)
    loss, *means = (total / max(weight_sum, 1) for total in sums)
    figures = objective.figures(loss, dict(zip(objective.metrics, means, strict=True)))
    counts = {"learnt": int(trained_sum), "trained": int(trained_sum), objective.unit: int(weight_sum)}
    return {"loss": loss, **figures, **counts}


def answers(session: Session, prompts: Sequence[str], generator: Generator) -> list[dict[str, Any]]:
    """The model's answers to `prompts`, written side by side in one batch.

    What goes wrong is said in the log and does not stop a run, but where ranks generate together: they would wait for
    the one that failed. There, XtuneError is raised.
    """
    asked: list[list[int]] = []
    try:
        asked = [session.prompt_ids([Turn("user", prompt)]) for prompt in prompts]
        texts = generator.answers(asked, session.sampling, session.stops())
    except Exception as error:  # an answer is only looked at: training goes on whatever happens here
        if generator.together and asked:
            raise XtuneError(
                f"the prompts cannot be answered: {reason(error)} (the weights are sharded: the run cannot go on "
                "without this rank)",
                "set evaluation.prompts=[], or evaluation.max_new_tokens lower",
            ) from error
        log.warning("no answers to the prompts: %s: %s", type(error).__name__, error)
        return []
    return [{"prompt": prompt, "answer": text} for prompt, text in zip(prompts, texts, strict=True)]


def evaluations_without_gain(losses: Sequence[float]) -> int:
    """How many of the last evaluations passed since the lowest loss."""
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0
