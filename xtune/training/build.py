"""A Run -> the parts of a training loop: the model spread over ranks, the plan, what collates and what evaluates."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from xtune.checkpoints.save import load_weights
from xtune.compat.transformers import attention_of
from xtune.conversation import IGNORE, Conversation
from xtune.data.collate import collate
from xtune.data.feed import Choice, Feed, map_rows
from xtune.data.report import Report
from xtune.data.schedule import Plan, seed_everything
from xtune.dist import ranks
from xtune.distributed.parallel import StepSettings
from xtune.evaluation.evaluator import Evaluator
from xtune.evaluation.held_out import answers, held_out_loss
from xtune.evaluation.multiple_choice import accuracy, read_questions
from xtune.generate.generate import Generator
from xtune.generate.sampling import Sampling
from xtune.generate.session import Session
from xtune.models.load import pick_dtype
from xtune.models.vocabulary import embedding_rows, padding_id, refuse_beyond
from xtune.names import encode
from xtune.optimizers.optimizer import Optimizer, parameter_groups
from xtune.optimizers.schedule import Shape, check_warmup, lr_factor, warmup_length
from xtune.training.forward import LogProbModel
from xtune.training.layers import compile_layers, use_checkpointing
from xtune.training.reference import load_reference, reference_log_probs

if TYPE_CHECKING:
    import numpy as np

    from xtune.callbacks.callback import Callback
    from xtune.checkpoints.journal import Journals
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
    """The model with its loss and its optimizer, spread as the distributed strategy says."""
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


def build_measure(
    run: Run,
    parallel: Parallel,
    held_out: Any,
    batch: Callable[[Sequence[Any]], Any],
    check: Callable[[], None],
) -> Callable[[], dict[str, Any]] | None:
    """The evaluation on held-out packs; None where nothing is held out."""
    config = run.config
    if not config.evaluation.holdout:
        return None
    if not len(held_out):
        log.warning("nothing is evaluated: no row fell into evaluation.holdout=%s", config.evaluation.holdout)
        return None
    return partial(held_out_loss, parallel, run.objective, held_out, batch, config.train.batch_size, check)


def build_generator(parallel: Parallel, tokenizer: Any) -> Generator:
    """Generation by the model that is trained, in the dtype that it is trained in."""
    dtype: torch.dtype = parallel.inner.dtype  # type: ignore[assignment]

    def call(*inputs: Any, **options: Any) -> Any:
        with torch.autocast(ranks.device().type, dtype=dtype, enabled=dtype != torch.float32):
            return parallel.generate(*inputs, **options)

    return Generator(parallel.inner.model, tokenizer, call, parallel.generates_together)  # type: ignore[arg-type]


def build_ask(run: Run, generator: Generator) -> Callable[[], Rows]:
    """Asks the model the config's prompts, as a chat with it would, always taking the likeliest token."""
    settings = run.config.evaluation
    sampling = Sampling(settings.max_new_tokens)
    session = Session(generator.model, generator.tokenizer, run.template, settings.system, sampling)
    return lambda: answers(session, settings.prompts, generator) if settings.prompts else []


def build_choose(
    run: Run, generator: Generator, feeds: Sequence[Feed], check: Callable[[], None]
) -> Callable[[], Rows]:
    """Asks the multiple-choice questions of `feeds`. Raises DataError where they are no multiple choice."""

    def ids(conversation: Conversation) -> list[int]:
        found, rows = (
            encode(conversation, run.template, generator.tokenizer).ids,
            embedding_rows(generator.model.config),
        )
        refuse_beyond(found, generator.tokenizer, rows, "a question of evaluation.choices")
        return found

    context, batch_size = generator.context, run.config.train.batch_size
    sets = {feed.source.name: read_questions(feed.source.name, conversations(feed), ids, context) for feed in feeds}
    ask = partial(accuracy, next_logits=generator.next_logits, batch_size=batch_size, context=context, check=check)
    return lambda: [{"name": name, **ask(found)} for name, found in sets.items()]


def conversations(feed: Feed) -> list[Conversation]:
    """All conversations of a feed. Rows that give none are counted in the log."""
    report = Report()
    found = [part for batch in map_rows(feed, Choice(False, 0.0, 0), report) for one in batch for part in one.row.parts]
    if report.dropped:
        log.warning("%s: %d of %d rows give no question", feed.source.name, sum(report.dropped.values()), report.read)
    return found


def build_evaluator(
    config: Config,
    measure: Callable[[], dict[str, Any]] | None,
    ask: Callable[[], Rows],
    choose: Callable[[], Rows],
    journals: Journals,
    callbacks: Callback,
) -> Evaluator:
    return Evaluator(
        evaluations=journals.evaluations,
        answers=journals.answers,
        choices=journals.choices,
        measure=measure,
        ask=ask,
        choose=choose,
        patience=config.evaluation.patience,
        keep_best=config.checkpoint.best,
        callbacks=callbacks,
    )


def describe_batch(tokenizer: Any, batch: Any, limit: int = 200) -> str:
    """The beginning of each row of a batch as text, and how many of its tokens are learnt."""
    rows = []
    for ids_T, labels_T in zip(batch.input_ids_BT, batch.labels_BT, strict=True):
        text = " ".join(tokenizer.decode(ids_T.tolist()).split())
        rows.append(f"{text[:limit]!r} ({int((labels_T != IGNORE).sum())} learnt)")
    return ", ".join(rows)
