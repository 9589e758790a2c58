"""What the rows say. They are read and encoded for it, and in the cache then for the run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from xtune.check.finding import Finding, refused
from xtune.data.embedded import refuse_unembedded
from xtune.data.schedule import Plan
from xtune.errors import DataError, ModelError, XtuneError
from xtune.models.vocabulary import OtherTokenizer
from xtune.optimizers.schedule import check_warmup

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xtune.data.dataset import Dataset, Packs
    from xtune.data.report import Report
    from xtune.run import Run

MANY_DROPPED = 0.1
FEW_TRAINED = 0.02
FEW_STEPS = 10


def of_data(run: Run, ranks: int) -> Iterator[Finding]:
    """What the rows say. They are read and encoded for it, and in the cache then for the run."""
    try:
        feeds = run.open_data()
        run.open_choices()
        dataset, report = run.prepare_data(feeds)
        yield from rows(report)
        yield from unembedded(run, dataset, run.tokenizer)
        yield steps(run, dataset.train, ranks)
    except DataError as error:
        yield refused("data", error)
    except ModelError:
        yield Finding("data", "unknown", "the rows are there; they are encoded with the model's tokenizer")
    except XtuneError as error:
        yield refused("steps", error)


def unembedded(run: Run, dataset: Dataset, tokenizer: PreTrainedTokenizerBase) -> Iterator[Finding]:
    """Which token of the rows the model has no embedding for; nothing where it has all."""
    try:
        refuse_unembedded(dataset, tokenizer, run.embedding_rows())
    except OtherTokenizer:  # of_model has reported it
        return
    except ModelError as error:
        yield refused("embeddings", error)


def rows(report: Report) -> Iterator[Finding]:
    """What became of the rows."""
    lost = sum(report.dropped.values())
    fact = f"{report.read:,} rows, {report.trained:,} trained on"
    if report.held_out:
        fact += f", {report.held_out:,} held out"
    if lost:
        reasons = sorted(report.dropped.items(), key=lambda item: -item[1])
        fact += f", {lost:,} dropped ({', '.join(f'{reason}: {count:,}' for reason, count in reasons[:2])})"
    yield Finding("data", "warning" if lost > MANY_DROPPED * report.read else "ok", fact)
    part = report.trained_tokens / report.tokens
    fact = f"{report.tokens:,} tokens an epoch, {part:.1%} trained on"
    if report.fill is not None:
        fact += f", packs {report.fill:.1%} full"
    yield Finding("tokens", "warning" if part < FEW_TRAINED else "ok", fact)


def steps(run: Run, packs: Packs, ranks: int) -> Finding:
    """Steps of the whole run, and what each takes."""
    settings = run.config.train
    plan = Plan(packs, settings.batch_size, settings.accumulate, settings.epochs, settings.max_steps, ranks)
    check_warmup(plan.steps, run.config.schedule.warmup_steps)
    fact = f"{plan.steps:,}, each of {plan.global_batch:,} {'pack' if run.config.pack else 'row'}"
    fact += "s" if plan.global_batch > 1 else ""
    if plan.steps < FEW_STEPS:
        return Finding("steps", "warning", f"{fact}: few", "lower train.accumulate, or raise train.epochs")
    return Finding("steps", "ok", fact)
