"""train(): a config in, a trained model and the story of its training out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtune.checkpoints.work_dir import workplace
from xtune.config.schema import Config
from xtune.dist import launch, ranks
from xtune.names import load_config
from xtune.resolve import resolve
from xtune.run import Run

if TYPE_CHECKING:
    import numpy as np

    from xtune.callbacks.together import Together
    from xtune.checkpoints.journal import Journals
    from xtune.checkpoints.save import Saver
    from xtune.dist.interrupts import Interrupts
    from xtune.evaluation.evaluator import Evaluator
    from xtune.training.loop import Loop
    from xtune.training.ready import Ready


@dataclass(frozen=True)
class Result:
    """What a run left. `metrics` has a row a step: step, loss, lr, tokens, trained, grad_norm, seconds,
    memory_gib, and the objective's own.

    `reason` is "finished", "early stop", or the name of the signal that stopped it. `checkpoint` is the newest one.
    """

    work_dir: Path
    metrics: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    answers: list[dict[str, Any]]
    choices: list[dict[str, Any]]
    reason: str
    checkpoint: Path


def train(
    config: Config | str | Path,
    work_dir: str | Path | None = None,
    resume: str | Path | None = None,
    *,
    other_base: bool = False,
) -> Result:
    """Fine-tunes as `config` (a Config, a name or a file) says, and returns what came of it.

    `work_dir` is where everything is written (default: work_dirs/NAME). `resume` is "auto" (the newest good checkpoint
    of the work dir, or the start if there is none), a checkpoint, or another work dir. Training that is resumed ends
    with the same weights, bit for bit, as if it had not been interrupted. `other_base` allows an adapter to go on, on
    other weights than it began on.

    Raises XtuneError for whatever the user can correct.
    """
    name = f"{config.model.name}_{config.tuning.name}" if isinstance(config, Config) else Path(config).stem
    run = resolve(config if isinstance(config, Config) else load_config(config))
    return train_resolved(run, Path(work_dir or Path("work_dirs", name)), resume, other_base=other_base)


def train_resolved(run: Run, work_dir: Path, resume: str | Path | None = None, *, other_base: bool = False) -> Result:
    """`train` of a config whose names are looked up already."""
    with launch.process_group(needed=run.distributed.needs_group):
        return train_run(run, work_dir, resume, other_base=other_base)


def train_run(run: Run, work_dir: Path, resume: str | Path | None = None, *, other_base: bool = False) -> Result:
    """`train` in every rank: checks, locks the work dir, builds the parts, and runs the loop."""
    with workplace(work_dir, resuming=resume is not None):
        return _train(run, work_dir, resume, other_base)


def _train(run: Run, work_dir: Path, resume: str | Path | None, other_base: bool) -> Result:
    from xtune.callbacks.callback import RunFacts
    from xtune.callbacks.together import Together
    from xtune.checkpoints.checkpoint import list_checkpoints
    from xtune.checkpoints.journal import Journals
    from xtune.dist.interrupts import Interrupts
    from xtune.training.evaluations import build_evaluator
    from xtune.training.ready import get_ready

    callbacks = Together(run.callbacks if ranks.rank() == 0 else ())
    callbacks.check()
    ready = get_ready(run, work_dir, resume, other_base=other_base)
    start = ready.start
    with Journals.opened(work_dir, source=ready.source, write=ranks.rank() == 0) as journals:
        interrupts = Interrupts()
        evaluator = build_evaluator(run, ready, journals, callbacks, interrupts.check)
        saver = build_saver(run, ready, work_dir, journals, evaluator)
        loop = build_loop(run, ready, journals, evaluator, saver, callbacks, interrupts)
        if ready.source is not None:
            saver.take_up(ready.source)
        rows = {name: journal.rows for name, journal in journals._asdict().items()}
        facts = RunFacts(
            work_dir, start.step, ready.plan.steps, run.objective, {**ready.about, "summary": ready.summary}, **rows
        )
        reason = callbacks.run(facts, partial(loop.run, start.step, evaluation_due=start.evaluation_due))
        ranks.barrier()
        return Result(work_dir=work_dir, reason=reason, checkpoint=list_checkpoints(work_dir)[-1], **rows)


def build_saver(run: Run, ready: Ready, work_dir: Path, journals: Journals, evaluator: Evaluator) -> Saver:
    from xtune.checkpoints.save import Saver

    return Saver(
        work_dir=work_dir,
        parallel=ready.parallel,
        keep=run.config.checkpoint.keep,
        describe=partial(write_description, run=run, about=ready.about, reference=ready.reference),
        journals=journals,
        best=lambda: evaluator.best,
    )


def build_loop(
    run: Run,
    ready: Ready,
    journals: Journals,
    evaluator: Evaluator,
    saver: Saver,
    callbacks: Together,
    interrupts: Interrupts,
) -> Loop:
    from xtune.training.build import build_schedule, describe_batch
    from xtune.training.loop import Loop
    from xtune.training.steps import PackedSteps

    config = run.config
    evaluates = evaluator.measure or ready.choices or config.evaluation.prompts
    return Loop(
        parallel=ready.parallel,
        steps=PackedSteps(replace(ready.plan, packs=ready.dataset.train), ready.batch),
        objective=run.objective,
        lr_factor=build_schedule(config, run.schedule, ready.plan.steps),
        seed=config.seed,
        metrics=journals.metrics,
        describe=partial(describe_batch, run.tokenizer),
        evaluate=evaluator if evaluates else None,
        verdict=evaluator.verdict,
        save=partial(save_and_notify, saver, callbacks),
        evaluate_every=config.evaluation.every,
        save_every=config.checkpoint.every,
        callbacks=callbacks,
        interrupts=interrupts,
    )


def save_and_notify(saver: Saver, callbacks: Together, step: int, **how: bool) -> None:
    """Saves, and passes the checkpoint on to the callbacks: one that could not be written is not there."""
    from xtune.checkpoints.checkpoint import list_checkpoints

    saver.save(step, **how)
    for folder in list_checkpoints(saver.work_dir):
        if folder.name == f"step_{step}":
            callbacks.saved(step, folder)


def write_description(folder: Path, *, run: Run, about: dict[str, Any], reference: np.ndarray | None = None) -> None:
    """Writes into a checkpoint what its weights are of: template, config, versions, plugins, data, and what the
    objective compares with.
    """
    from xtune.checkpoints.checkpoint import CONFIG_FILE, RUN_FILE, write_json
    from xtune.templates.store import save_template
    from xtune.training.reference import save_reference

    if reference is not None:
        save_reference(reference, folder)
    save_template(run.template, folder)
    write_json(folder / CONFIG_FILE, about["config"])
    write_json(folder / RUN_FILE, {key: value for key, value in about.items() if key != "config"})
