"""Ways to split the same training, one after another, alone or as a rank; rank 0 writes losses and weights to OUT.

Usage: matrix_run.py OUT JSON, where JSON maps names to distributed, tuning, batch_size, accumulate and other options.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any


def run(out: Path, options: dict[str, Any]) -> None:
    import torch
    from engine_standins import InOrder, Packs, TinyRun, make_pairs, make_samples, pair_packs, tiny_config

    from xtune.checkpoints.journal import Journal
    from xtune.data.dataset import Dataset
    from xtune.dist import ranks
    from xtune.training import build, loss
    from xtune.training.loop import Loop
    from xtune.training.reference import with_reference
    from xtune.training.steps import PackedSteps

    torch.set_num_threads(1)
    loss.CHUNK_ELEMENTS = options.get("chunk_elements", 2**24)
    config = tiny_config(
        options.get("tuning"),
        options.get("distributed", "single"),
        train={
            "batch_size": options["batch_size"],
            "accumulate": options["accumulate"],
            "epochs": 2,
            "gradient_checkpointing": options.get("checkpointing", False),
        },
        objective=options.get("objective", {"name": "sft"}),
        optimizer={"lr": 1e-3, "max_grad_norm": 0.5, "weight_decay": 0.1},
    )
    tiny = TinyRun(config)
    # a step holds the same 16 samples, as 16 rows or as 4 packs of 4; the last step of an epoch holds 6
    if tiny.objective.sequences == 2:
        packs = pair_packs(make_pairs(54), range(54), options.get("per_pack", 1), InOrder)
    else:
        packs = Packs(make_samples(54), options.get("per_pack", 1))
        packs.order = lambda seed, epoch, step: list(range(len(packs)))  # type: ignore[method-assign]
    plan = build.build_plan(config, packs)
    model = build.build_model(tiny, None)
    parallel = build.build_parallel(tiny, model, plan)
    if not options.get("chunked", True):
        parallel.inner.rule = None
    collate = build.build_collate(model, tiny.tokenizer, tiny.objective.sequences)
    data = Dataset(packs, packs, "tiny")
    data = with_reference(data, build.build_reference(tiny, parallel, data, collate, None))
    loop = Loop(
        parallel=parallel,
        steps=PackedSteps(replace(plan, packs=data.train), collate),
        objective=tiny.objective,
        lr_factor=build.build_schedule(config, tiny.schedule, plan.steps),
        seed=0,
        metrics=Journal(Path(f"{out}.jsonl"), write=ranks.rank() == 0),
        describe=str,
    )
    loop.run()
    weights = parallel.weights()
    if ranks.rank() == 0:
        torch.save({"weights": weights, "metrics": loop.metrics.rows}, f"{out}.pt")


if __name__ == "__main__":
    from xtune.dist.launch import process_group

    with process_group():
        for name, options in json.loads(sys.argv[2]).items():
            run(Path(sys.argv[1], name), options)
