"""A Run -> all that has to be there before the first step: data, model, strategy, the state that it goes on from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from xtune.checkpoints.load import Start, load_training_state
from xtune.checkpoints.resume import find_source
from xtune.compat.deepspeed import whole_size
from xtune.data.dataset import Dataset
from xtune.data.embedded import refuse_unembedded
from xtune.data.feed import Feed
from xtune.data.schedule import Plan
from xtune.dist import ranks
from xtune.distributed.parallel import Parallel
from xtune.models.identity import identify
from xtune.run import Run
from xtune.training import build
from xtune.training.probe import refuse_mixed_samples
from xtune.training.reference import with_reference
from xtune.training.versions import describe_run

if TYPE_CHECKING:
    import numpy as np


class Ready(NamedTuple):
    """What a loop is built of. `about` says what the run is made of, and `source` is the checkpoint it goes on from."""

    about: dict[str, Any]
    summary: str
    plan: Plan
    dataset: Dataset
    choices: list[Feed]
    batch: Callable[[Sequence[Any]], Any]
    parallel: Parallel
    reference: np.ndarray | None
    source: Path | None
    start: Start


def get_ready(run: Run, work_dir: Path, resume: str | Path | None, *, other_base: bool = False) -> Ready:
    """Cheap things come before those that take long. Raises XtuneError for whatever the user can correct."""
    config = run.config
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
    return Ready(about, summary(about, model), plan, dataset, choices, batch, parallel, reference, source, start)


def summary(about: dict[str, Any], model: Any) -> str:
    """The line that a run begins with."""
    from xtune.tuning.targets import what_is_trained

    # a weight that ZeRO-3 has sharded remembers how large it was
    trained = sum(whole_size(p) for p in model.parameters() if p.requires_grad)
    return (
        f"{about['config']['model']['name']} on {about['device']}: {trained / 1e6:,.1f} M weights are trained, "
        f"{what_is_trained(model)}; {about['data']['packs']:,} packs, {about['packs_a_step']} a step, "
        f"{about['steps']:,} steps"
    )
