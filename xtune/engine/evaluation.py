"""What is measured between steps: the loss on held-out packs, and answers to the config's prompts."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from xtune.strategies.distributed import ranks
from xtune.strategies.distributed.parallel import Parallel

log = logging.getLogger(__name__)


@torch.no_grad()
def held_out_loss(
    parallel: Parallel, packs: Any, collate: Callable[[Sequence[Any]], Any], batch_size: int
) -> dict[str, Any]:
    """Mean loss over the learnt tokens of `packs`, and its exponential, the perplexity. The ranks share the work."""
    size, count = batch_size, ranks.world_size()
    rounds = math.ceil(len(packs) / (size * count))
    total = torch.zeros((), dtype=torch.float64, device=ranks.device())
    learnt = 0
    parallel.module.eval()
    for number in range(rounds):
        start = (number * count + ranks.rank()) * size
        chosen = [packs[index] for index in range(start, min(start + size, len(packs)))]
        batch = collate(chosen or [packs[0]])  # sharded models need every rank in every forward
        loss = parallel.module(batch.model_inputs(), batch.labels_BT)
        if chosen:
            total += loss
            learnt += batch.learnt
    loss_sum, tokens = ranks.sums(total, learnt)
    mean = loss_sum / max(tokens, 1)
    return {"loss": mean, "perplexity": math.exp(min(mean, 700.0)), "learnt": int(tokens)}


def answers(ask: Callable[[str], str], prompts: Iterable[str], module: nn.Module) -> list[dict[str, Any]]:
    """The model's answer to each prompt. What goes wrong is told in the log and never stops a run."""
    rows = []
    with evaluating(module):
        for prompt in prompts:
            try:
                rows.append({"prompt": prompt, "answer": ask(prompt)})
            except Exception as error:  # an answer is only looked at: training goes on whatever happens here
                log.warning("no answer to %r: %s: %s", prompt, type(error).__name__, error)
    return rows


@contextmanager
def evaluating(module: nn.Module):  # type: ignore[no-untyped-def]
    """Puts a module into evaluation mode, and back as it was."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def evaluations_without_gain(losses: Sequence[float]) -> int:
    """How many of the last evaluations passed since the lowest loss."""
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0
