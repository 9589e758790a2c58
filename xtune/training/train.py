"""train(): a config in, a trained model and the story of its training out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtune.checkpoints.work_dir import workplace
from xtune.compat.deepspeed import whole_size
from xtune.config.schema import Config
from xtune.dist import launch, ranks
from xtune.names import load_config
from xtune.resolve import resolve
from xtune.run import Run

if TYPE_CHECKING:
    import numpy as np

    from xtune.callbacks.together import Together
    from xtune.checkpoints.save import Saver


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

    Raises XtuneError for whatever the user can mend.
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
    from xtune.checkpoints.resume import find_source
    from xtune.checkpoints.save import Saver, Start, load_training_state
    from xtune.data.embedded import refuse_unembedded
    from xtune.dist.interrupts import Interrupts
    from xtune.models.identity import identify
    from xtune.training import build
    from xtune.training.loop import Loop
    from xtune.training.probe import refuse_mixed_samples
    from xtune.training.reference import with_reference
    from xtune.training.steps import PackedSteps
    from xtune.training.versions import describe_run

    config = run.config
    callbacks = Together(run.callbacks if ranks.rank() == 0 else ())
    callbacks.check()
    feeds, choices = run.open_data(), run.open_choices()
    tokenizer = run.tokenizer
    prepared = run.prepare_data(feeds)
    refuse_unembedded(prepared.dataset, tokenizer, run.embedding_rows())
    plan = build.build_plan(config, prepared.dataset.train)
    about = describe_run(run, plan, prepared.report)
    source = find_source(work_dir, resume, about, other_base=other_base)
    model = build.build_model(run, source)
    if about["base"] is None and ranks.rank() == 0:  # it was downloaded just now
        about["base"] = identify(config.model.path)
    parallel = build.build_parallel(run, model, plan)
    start = load_training_state(parallel, source) if source is not None else Start()
    batch = build.build_collate(model, tokenizer, run.objective.sequences)
    if config.pack:
        refuse_mixed_samples(parallel, build.build_collate(model, tokenizer))
    reference = build.build_reference(run, parallel, prepared.dataset, batch, source)
    dataset = with_reference(prepared.dataset, reference)
    with Journals.opened(work_dir, source=source, write=ranks.rank() == 0) as journals:
        generator = build.build_generator(parallel, tokenizer)
        ask = build.build_ask(run, generator)
        interrupts = Interrupts()
        choose = build.build_choose(run, generator, choices, interrupts.check)
        measure = build.build_measure(run, parallel, dataset.held_out, batch, interrupts.check)
        evaluator = build.build_evaluator(config, measure, ask, choose, journals, callbacks)
        saver = Saver(
            work_dir=work_dir,
            parallel=parallel,
            keep=config.checkpoint.keep,
            describe=partial(write_description, run=run, about=about, reference=reference),
            journals=journals,
            best=lambda: evaluator.best,
        )
        loop = Loop(
            parallel=parallel,
            steps=PackedSteps(replace(plan, packs=dataset.train), batch),
            objective=run.objective,
            lr_factor=build.build_schedule(config, run.schedule, plan.steps),
            seed=config.seed,
            metrics=journals.metrics,
            describe=partial(build.describe_batch, tokenizer),
            evaluate=evaluator if measure or choices or config.evaluation.prompts else None,
            verdict=evaluator.verdict,
            save=partial(save_and_tell, saver, callbacks),
            evaluate_every=config.evaluation.every,
            save_every=config.checkpoint.every,
            callbacks=callbacks,
            interrupts=interrupts,
        )
        rows = {name: journal.rows for name, journal in journals._asdict().items()}
        if source is not None:
            saver.take_up(source)
        facts = RunFacts(
            work_dir, start.step, plan.steps, run.objective, {**about, "summary": summary(about, model)}, **rows
        )
        reason = callbacks.run(facts, partial(loop.run, start.step, evaluation_due=start.evaluation_due))
        ranks.barrier()
        return Result(work_dir=work_dir, reason=reason, checkpoint=list_checkpoints(work_dir)[-1], **rows)


def save_and_tell(saver: Saver, callbacks: Together, step: int, **how: bool) -> None:
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


def summary(about: dict[str, Any], model: Any) -> str:
    """The line that a run begins with."""
    from xtune.tuning.targets import what_is_trained

    # a weight that ZeRO-3 has cut remembers how large it was
    trained = sum(whole_size(p) for p in model.parameters() if p.requires_grad)
    return (
        f"{about['config']['model']['name']} on {about['device']}: {trained / 1e6:,.1f} M weights are trained, "
        f"{what_is_trained(model)}; {about['data']['packs']:,} packs, {about['packs_a_step']} a step, "
        f"{about['steps']:,} steps"
    )
