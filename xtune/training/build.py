"""A Run -> the parts of a training loop: the model on its ranks, the plan, what collates and what evaluates."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from xtune.checkpoints.load import load_weights
from xtune.compat.transformers import attention_of
from xtune.conversation import IGNORE
from xtune.data.collate import collate
from xtune.data.schedule import Plan, seed_everything
from xtune.dist import ranks
from xtune.distributed.parallel import StepSettings
from xtune.models.device import pick_dtype
from xtune.models.vocabulary import embedding_rows, padding_id
from xtune.optimizers.optimizer import Optimizer, parameter_groups
from xtune.optimizers.schedule import Shape, check_warmup, lr_factor, warmup_length
from xtune.training.forward import LogProbModel
from xtune.training.layers import compile_layers, use_checkpointing
from xtune.training.reference import load_reference, reference_log_probs

if TYPE_CHECKING:
    import numpy as np

    from xtune.config.schema import Config, OptimizerSettings
    from xtune.data.dataset import Dataset
    from xtune.distributed.parallel import Parallel
    from xtune.run import Run

log = logging.getLogger(__name__)

Rows = list[dict[str, Any]]
"""Lines of a journal."""


def build_model(run: Run, checkpoint: Path | None) -> torch.nn.Module:
    """The model, prepared for tuning, with the weights of `checkpoint` where one is given.

    Weights that are trained are float32 whatever the model's dtype: a step of bfloat16 weights is lost in rounding.
    """
    seed_everything(run.config.seed)
    model = run.tuning.prepare(run.load_model(ranks.device(), on_cpu=run.distributed.shards_on_load))
    if run.tuning.trains_everything and hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")  # grouped_mm knows no autocast: it would compute in float32
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if checkpoint is None:
        run.tuning.begin(model)
    else:
        load_weights(model, checkpoint)
    return model


def build_parallel(run: Run, model: torch.nn.Module, plan: Plan) -> Parallel:
    """The model with its loss and its optimizer, distributed as the distributed strategy says."""
    settings = run.config
    dtype = pick_dtype(settings.model.dtype, ranks.device())
    module = LogProbModel(model, dtype=dtype, summed=run.objective.summed, neftune_alpha=settings.train.neftune_alpha)
    tokens = settings.train.batch_size * settings.max_length * run.objective.sequences
    use_checkpointing(model, settings.train.gradient_checkpointing, tokens=tokens, device=ranks.device())
    micro_batches = plan.steps * settings.train.accumulate
    compile_layers(model, settings.train.compile, micro_batches=micro_batches, device=ranks.device())
    return run.distributed.start(
        module,
        lambda sharded: optimizer_for(sharded, run.optimizer, settings.optimizer),
        StepSettings(settings.train.batch_size, settings.train.accumulate, settings.optimizer.max_grad_norm),
    )


def optimizer_for(module: torch.nn.Module, optimizer: Optimizer, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """The torch optimizer of the weights of `module` that train."""
    groups = parameter_groups(
        module.named_parameters(),
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        lora_plus_ratio=settings.lora_plus_ratio,
    )
    return optimizer.make(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps)


def build_plan(config: Config, packs: Any) -> Plan:
    plan = Plan(
        packs=packs,
        batch_size=config.train.batch_size,
        accumulate=config.train.accumulate,
        epochs=config.train.epochs,
        max_steps=config.train.max_steps,
        ranks=ranks.world_size(),
        seed=config.seed,
    )
    check_warmup(plan.steps, config.schedule.warmup_steps)
    return plan


def build_schedule(config: Config, shape: Shape, steps: int) -> Callable[[int], float]:
    settings = config.schedule
    return partial(
        lr_factor,
        shape=shape,
        warmup=warmup_length(steps, settings.warmup_ratio, settings.warmup_steps),
        total=steps,
        floor=min(1.0, settings.min_lr / config.optimizer.lr),
    )


def build_collate(model: Any, tokenizer: Any, sequences: int = 1) -> Callable[[Sequence[Any]], Any]:
    """Packs -> a Batch on this rank's device, in the form that the model's attention takes."""
    pad_id = padding_id(tokenizer, embedding_rows(model.config))
    attention, device = attention_of(model.config), ranks.device()
    return lambda packs: collate(packs, pad_id=pad_id, attention=attention, sequences=sequences).to(device)


def build_reference(
    run: Run, parallel: Parallel, dataset: Dataset, batch: Callable[[Sequence[Any]], Any], checkpoint: Path | None
) -> np.ndarray | None:
    """What the objective compares with: by the model as it is now, or by that of the run that goes on."""
    if not run.objective.needs_reference:
        return None
    if checkpoint is not None:
        return load_reference(checkpoint)
    return reference_log_probs(parallel, [dataset.train, dataset.held_out], batch, run.config.train.batch_size)


def describe_batch(tokenizer: Any, batch: Any, limit: int = 200) -> str:
    """The beginning of each row of a batch as text, and how many of its tokens are trained on."""
    rows = []
    for ids_T, labels_T in zip(batch.input_ids_BT, batch.labels_BT, strict=True):
        text = " ".join(tokenizer.decode(ids_T.tolist()).split())
        rows.append(f"{text[:limit]!r} ({int((labels_T != IGNORE).sum())} trained on)")
    return ", ".join(rows)
