"""Training speed, memory and losses beside TRL's SFTTrainer, on the same batches, one after the other in one call.

    python tools/bench_train.py --model MODEL --data alpaca.json --peer-path DIR [--steps 10] [--threads 2]
    python tools/bench_train.py --model random:tinyllama_1_1b --tuning qlora --dtype bfloat16 --length 4096 --batch 4

LoRA of rank 64 on all linear layers unless `--tuning` says otherwise, without dropout, float32 unless `--dtype` does,
packs of 512 tokens, two a step, AdamW at a constant rate of 2e-4; on a CUDA device where there is one. `random:NAME` is
a registered model's shape with random weights, which is as fast and needs no download; the rows are then the project's
own. With a device whose peak is known, the share of its floating point operations is printed too (MFU).
`--peer-path` is a folder with TRL in it, made outside of the repository by
`pip install --no-deps --target DIR trl==1.16.0`; without it, only xtune is measured. Each side is a process of its own;
both start from the same weights and take the same packs, made here once. The first two steps, in which xtune compiles,
are left out of the speed. Memory is the most that the whole process took, on a CUDA device the most that torch held
there. On a machine that does other work too, look at tokens for each second of processor time. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from xtune.callbacks.callback import Callback

RANK, RATE = 64, 2e-4
WARM_STEPS = 2
COMPARED = 8
ROWS = "package:xtune/catalogue/rows/everyday.jsonl"
REPEATS = 400
"""Of ROWS: enough packs for a benchmark."""
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""Dense bfloat16 operations a second, by the vendor's data sheets."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder, GGUF file, package:MODULE/FILE or random:NAME")
    parser.add_argument("--data", default=ROWS, help="rows of alpaca; default: the project's own, many times")
    parser.add_argument("--tuning", choices=["full", "lora", "qlora"], default="lora")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--attention", default="auto", help="as model.attention in a config")
    parser.add_argument("--length", type=int, default=512, help="tokens of a pack")
    parser.add_argument("--batch", type=int, default=2, help="packs a step")
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing, on both sides")
    parser.add_argument("--peer-path", help="folder that TRL is installed in")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1, help="how often both sides run, in turn")
    parser.add_argument("--no-compile", action="store_true", help="leave xtune's layers as they are")
    parser.add_argument("--worker", choices=["xtune", "trl"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        result = {"xtune": train_with_xtune, "trl": train_with_trl}[args.worker](args)
        Path(args.folder, f"{args.worker}.json").write_text(json.dumps(result))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        sides = ["xtune", "trl"] if args.peer_path else ["xtune"]
        results: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
        for _ in range(args.rounds):
            for side in sides:
                results[side].append(run_side(side, folder, args.peer_path))
    print(table(results))
    return 0


def run_side(side: str, folder: str, peer_path: str | None) -> dict[str, Any]:
    """Runs one side in a process of its own and returns what it measured."""
    paths = [str(Path(__file__).resolve().parents[1]), *([peer_path] if peer_path and side == "trl" else [])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, *sys.argv, "--worker", side, "--folder", folder]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return json.loads(Path(folder, f"{side}.json").read_text())


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """The medians over the rounds, their range, and the ratios."""
    heads = ["trained tokens/s", "range", "trained tokens a CPU second", "peak memory, GiB", "MFU"]
    lines = [f"| | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    speed, work, memory = {}, {}, {}
    for side, runs in results.items():
        speeds = [run["speed"] for run in runs]
        speed[side], memory[side] = statistics.median(speeds), max(run["memory"] for run in runs)
        work[side] = statistics.median(run["work"] for run in runs)
        span = f"{min(speeds):.1f}-{max(speeds):.1f}"
        shares = [run["mfu"] for run in runs if run["mfu"] is not None]
        used = f"{statistics.median(shares):.1%}" if shares else ""
        figures = f"{speed[side]:.1f} | {span} | {work[side]:.1f} | {memory[side]:.2f} | {used}"
        lines.append(f"| {runs[0]['name']} | {figures} |")
    if "trl" in results:
        ours, theirs = results["xtune"][0]["losses"][:COMPARED], results["trl"][0]["losses"][:COMPARED]
        apart = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
        lines += [
            f"| ratio | {speed['xtune'] / speed['trl']:.2f} | | {work['xtune'] / work['trl']:.2f} "
            f"| {memory['xtune'] / memory['trl']:.2f} | |",
            "",
            f"Losses of the first {len(ours)} steps: at most {apart:.1e} apart ({ours[0]:.4f} to {ours[-1]:.4f}).",
        ]
    return "\n".join(lines)


def prepare(args: argparse.Namespace) -> tuple[Any, Any, list[Any]]:
    """The run, its model ready to train, and the packs of every step, in order."""
    import torch

    from xtune.config.validate import validate
    from xtune.resolve import resolve
    from xtune.training.build import build_model

    torch.set_num_threads(args.threads)
    name, path = "smollm2_135m_instruct", args.model
    if path.startswith("random:"):
        name = path.removeprefix("random:")
        path = random_model(name, Path(args.folder, "model"))
    adapter = {"rank": RANK, "alpha": 16, "dropout": 0.0, "targets": "all-linear"}
    values = {
        "model": {"name": name, "path": path, "dtype": args.dtype, "attention": args.attention},
        "template": "chatml",
        "tuning": {"name": args.tuning, **(adapter if args.tuning != "full" else {})},
        "data": [{"path": args.data, "mapper": "alpaca", "weight": REPEATS if args.data == ROWS else 1.0}],
        "max_length": args.length,
        "pack": True,
        "optimizer": {"name": "adamw", "lr": RATE},
        "schedule": {"name": "constant"},
        "train": {
            "batch_size": args.batch,
            "max_steps": args.steps,
            "compile": not args.no_compile,
            "gradient_checkpointing": args.checkpointing,
        },
    }
    run = resolve(validate(values, "bench_train"))
    packs = run.prepare_data().dataset.train
    order = [int(index) for index in packs.order(0, 0, args.batch)[: args.batch * args.steps]]
    return run, build_model(run, None), [packs[index] for index in order]


def random_model(name: str, folder: Path) -> str:
    """A folder with a registered model's shape, random weights and a small tokenizer; made once, for both sides."""
    import torch

    from xtune.estimate.memory import build
    from xtune.registries import components
    from xtune.rehearse.small_tokenizer import make_tokenizer

    if not folder.is_dir():
        found = components()
        torch.manual_seed(0)
        tokenizer = make_tokenizer(found.templates["chatml"], [])
        build(found.models[name].config).to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return str(folder)


def used_share(args: argparse.Namespace, run: Any, tokens_a_second: float) -> float | None:
    """Model FLOPs utilisation; None on a device whose peak is not known."""
    import torch

    from xtune.estimate.plan import flops_a_token, need, setting_of

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    peak = next((flops for part, flops in PEAK_FLOPS.items() if part in device), None)
    if peak is None:
        return None
    from xtune.estimate.memory import trained_parameters

    trained = trained_parameters(run.model.config, run.tuning)
    needed = need(run.model, run.tuning, run.quantization, trained, run.optimizer, setting_of(run.config, 1, 80.0))
    each = flops_a_token(run.model.config, needed, args.length, full=args.tuning == "full")
    return tokens_a_second * each / peak


def train_with_xtune(args: argparse.Namespace) -> dict[str, Any]:
    from importlib.metadata import version

    from xtune.checkpoints.journal import Journal
    from xtune.data.schedule import Plan
    from xtune.training import build
    from xtune.training.loop import Loop, memory_gib
    from xtune.training.steps import PackedSteps

    run, model, packs = prepare(args)
    tokenizer = run.tokenizer
    plan = Plan(InOrder(packs), batch_size=args.batch, accumulate=1, epochs=1)
    parallel = build.build_parallel(run, model, plan)
    metrics = Journal(Path(args.folder, "metrics.jsonl"))
    Loop(
        parallel=parallel,
        steps=PackedSteps(plan, build.build_collate(model, tokenizer)),
        objective=run.objective,
        lr_factor=lambda step: 1.0,
        seed=0,
        metrics=metrics,
        describe=str,
        callbacks=(clock := CpuClock()),
    ).run()
    rows = metrics.rows[WARM_STEPS:]
    trained = sum(row["trained"] for row in rows)
    compiled = "" if args.no_compile else ", layers compiled"
    return {
        "name": f"xtune {version('xtune')}{compiled}",
        "losses": [row["loss"] for row in metrics.rows],
        "speed": trained / sum(row["seconds"] for row in rows),
        "mfu": used_share(args, run, sum(row["tokens"] for row in rows) / sum(row["seconds"] for row in rows)),
        "work": trained / (clock.moments[-1] - clock.moments[WARM_STEPS - 1]),
        "memory": memory_gib(),
    }


class CpuClock(Callback):
    """Processor time at the end of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[float] = []

    def stepped(self, row: dict[str, Any]) -> None:
        self.moments.append(time.process_time())


class InOrder(list[Any]):
    """Packs that are taken as they lie."""

    def order(self, seed: int, epoch: int, step: int) -> Any:
        import numpy as np

        return np.arange(len(self))


def train_with_trl(args: argparse.Namespace) -> dict[str, Any]:
    import torch
    import trl
    from datasets import Dataset
    from torch.utils.data import SequentialSampler
    from transformers import TrainerCallback

    from xtune.training.loop import memory_gib

    run, model, packs = prepare(args)
    rows = [
        {"input_ids": p.ids.tolist(), "labels": p.labels.tolist(), "seq_lengths": p.lengths.tolist()} for p in packs
    ]
    moments: list[float] = []
    work: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            moments.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            moments.append(time.perf_counter())
            work.append(time.process_time())

    class InTurn(trl.SFTTrainer):
        def _get_train_sampler(self, dataset: Any = None) -> Any:
            return SequentialSampler(dataset if dataset is not None else self.train_dataset)

    settings = trl.SFTConfig(
        output_dir=str(Path(args.folder, "trl")),
        per_device_train_batch_size=args.batch,
        max_steps=args.steps,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_length=args.length,
        packing=True,
        dataset_kwargs={"skip_prepare_dataset": True},
        gradient_checkpointing=args.checkpointing,
        bf16=args.dtype == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        logging_steps=1,
        save_strategy="no",
        report_to="none",
    )
    trainer = InTurn(
        model,
        settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=run.tokenizer,
        callbacks=[Clock()],
    )
    trainer.train()
    seconds = [end - begin for begin, end in zip(moments[::2], moments[1::2], strict=True)][WARM_STEPS:]
    timed = packs[args.batch * WARM_STEPS :]
    trained = sum(int((p.labels != -100).sum()) for p in timed)
    return {
        "name": f"TRL {trl.__version__} SFTTrainer",
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        "speed": trained / sum(seconds),
        "mfu": used_share(args, run, sum(len(p.ids) for p in timed) / sum(seconds)),
        "work": trained / (work[-1] - work[WARM_STEPS - 1]),
        "memory": memory_gib(),
    }


if __name__ == "__main__":
    sys.exit(main())
