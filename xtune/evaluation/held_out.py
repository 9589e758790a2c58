"""What is measured between steps: the loss on held-out packs, and answers to the config's prompts."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from xtune.conversation import Turn
from xtune.dist import ranks
from xtune.distributed.parallel import Parallel

if TYPE_CHECKING:
    from xtune.generate.session import Session

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
        loss = -parallel.module(batch.model_inputs(), batch.labels_BT).sum()
        if chosen:
            total += loss
            learnt += batch.trained
    loss_sum, tokens = ranks.sums(total, learnt)
    mean = loss_sum / max(tokens, 1)
    return {"loss": mean, "perplexity": math.exp(min(mean, 700.0)), "learnt": int(tokens)}


@torch.no_grad()
def answers(session: Session, prompts: Sequence[str], generate: Callable[..., Any]) -> list[dict[str, Any]]:
    """The model's answers to `prompts`, written side by side in one batch, always taking the likeliest token.

    What goes wrong is told in the log and never stops a run.
    """
    model, tokenizer = session.model, session.tokenizer
    with evaluating(model):
        try:
            asked = [session.prompt_ids([Turn("user", prompt)]) for prompt in prompts]
            ids_BT, mask_BT = (part.to(model.device) for part in left_padded(asked, padding_id(tokenizer)))
            out_BT = generate(ids_BT, attention_mask=mask_BT, **session.generation_options())
            texts = [session.answer_text(out_T[ids_BT.shape[1] :]) for out_T in out_BT]
        except Exception as error:  # an answer is only looked at: training goes on whatever happens here
            log.warning("no answers to the prompts: %s: %s", type(error).__name__, error)
            return []
    return [{"prompt": prompt, "answer": text} for prompt, text in zip(prompts, texts, strict=True)]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
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


def padding_id(tokenizer: Any) -> int:
    """The id that fills rows up: the tokenizer's pad token, else its end token, else 0."""
    return next((i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None), 0)


def left_padded(sequences: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """(ids_BT, mask_BT) of sequences that end together, as generating from them needs it."""
    longest = max(map(len, sequences))
    ids_BT = torch.tensor([[pad_id] * (longest - len(ids)) + list(ids) for ids in sequences])
    return ids_BT, torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in sequences])
