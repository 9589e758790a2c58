"""A Run -> what evaluates it between steps: held-out loss, prompts, multiple choice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from xtune.conversation import Conversation
from xtune.data.feed import Choice, Feed, map_rows
from xtune.data.report import Report
from xtune.dist import ranks
from xtune.evaluation.evaluator import Evaluator
from xtune.evaluation.held_out import answers, held_out_loss
from xtune.evaluation.multiple_choice import accuracy, read_questions
from xtune.generate.generate import Generator
from xtune.generate.sampling import Sampling
from xtune.generate.session import Session
from xtune.models.vocabulary import embedding_rows, refuse_beyond
from xtune.names import encode
from xtune.training.build import Rows

if TYPE_CHECKING:
    from xtune.callbacks.callback import Callback
    from xtune.checkpoints.journal import Journals
    from xtune.distributed.parallel import Parallel
    from xtune.run import Run
    from xtune.training.ready import Ready

log = logging.getLogger(__name__)


def build_evaluator(
    run: Run, ready: Ready, journals: Journals, callbacks: Callback, check: Callable[[], None]
) -> Evaluator:
    """All that is evaluated. `check` may break it off with an exception, on all ranks."""
    generator = build_generator(ready.parallel, run.tokenizer)
    return Evaluator(
        evaluations=journals.evaluations,
        answers=journals.answers,
        choices=journals.choices,
        measure=build_measure(run, ready.parallel, ready.dataset.held_out, ready.batch, check),
        ask=build_ask(run, generator),
        choose=build_choose(run, generator, ready.choices, check),
        patience=run.config.evaluation.patience,
        keep_best=run.config.checkpoint.best,
        callbacks=callbacks,
    )


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
