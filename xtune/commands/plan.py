"""`xtune plan`: parameters, memory, work and disk of a config, before anything is downloaded."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from xtune.commands.argument_types import within
from xtune.commands.config_arguments import add_config_arguments, config_from
from xtune.commands.table import print_table
from xtune.text import in_bytes

if TYPE_CHECKING:
    from xtune.estimate.memory import Memory
    from xtune.estimate.plan import Need, Setting
    from xtune.run import Run


def add_arguments(parser: ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument("--gpus", type=within(0), default=1, metavar="N", help="number of GPUs; 0 plans for the CPU")
    parser.add_argument("--gpu-memory", type=within(0.1), default=80, metavar="GIB", help="memory of one, default 80")


def run(args: Namespace) -> int:
    from xtune.commands.console import quiet_libraries
    from xtune.errors import XtuneError
    from xtune.estimate.plan import advice, estimate, fits, planned, setting_of
    from xtune.resolve import resolve
    from xtune.tuning.tuning import TuningError

    quiet_libraries()
    found, gpus = resolve(config_from(args)), max(1, args.gpus)
    setting = setting_of(found.config, args.gpus, args.gpu_memory, found.objective.sequences)
    print(f"{found.config.model.path}, {found.config.tuning.name}")
    try:
        found, needed, memory, said = estimate(found, setting, gpus)
    except TuningError:
        raise
    except XtuneError as error:
        print(f"parameters  unknown: {error}")
        print_data(found, None, gpus)
        return 0
    print_parameters(found, needed)
    print(f"            {said}")
    print_memory(memory, needed, setting)
    print_work(found, needed, gpus)
    print_fits(found, setting)
    if not fits(memory, args.gpu_memory):
        print(f"\nIt does not fit into {args.gpu_memory:g} GiB. What helps:")
        cures = advice(needed, setting, found.quantization, planned(found.components.strategies))
        print("".join(f"  {line}\n" for line in cures), end="")
    return 0


def print_parameters(run: Run, needed: Need) -> None:
    total = run.model.parameters
    print(f"parameters  {total:,} in all, {needed.trained:,} trained ({needed.trained / total:.2%} of the model's)")


def print_memory(memory: Memory, needed: Need, setting: Setting) -> None:
    from xtune.estimate.memory import GIB

    where = f"on each of {setting.gpus} GPUs" if setting.gpus > 1 else "on the GPU" if setting.gpus else "on the CPU"
    print(f"\nmemory {where}, micro-batches of {setting.tokens} tokens")
    rows = [(part, getattr(memory, part)) for part in ("weights", "gradients", "optimizer", "activations", "logits")]
    print_table((f"  {part}", f"{size / GIB:8.2f} GiB") for part, size in [*rows, ("in all", memory.total)])
    print(f"  gradient checkpointing is {'on' if needed.checkpointing else 'off'}")


def print_work(run: Run, needed: Need, gpus: int) -> None:
    from xtune.estimate.memory import checkpoint_bytes
    from xtune.estimate.plan import flops_a_token
    from xtune.paths import is_local

    config = run.config
    each = flops_a_token(run.model.config, needed, config.max_length, full=run.tuning.trains_everything)
    checkpoint = checkpoint_bytes(needed.trained, run.optimizer)
    kept = config.checkpoint.keep + 1
    there = "" if is_local(config.model.path) else " to download"
    print(f"\ndisk        {in_bytes(2 * run.model.parameters)} of weights in 16 bits{there}")
    print(f"            {in_bytes(kept * checkpoint)} for {kept} checkpoints, one of them being written")
    print(f"work        {each / 1e9:.2f} GFLOPs a token")
    print_data(run, each, gpus)


def print_data(run: Run, flops: float | None, gpus: int) -> None:
    """Rows, tokens, steps and work of an epoch, where tokenizer and data are on this machine."""
    from xtune.data.schedule import Plan
    from xtune.errors import XtuneError
    from xtune.paths import is_local

    config = run.config
    if not all(
        is_local(path) for path in (config.model.tokenizer or config.model.path, *(e.path for e in config.data))
    ):
        print("data        not at hand: tokens and steps are known once model and data are local (--model, --data)")
        return
    try:
        dataset, report = run.prepare_data()
        train = config.train.model_dump(include={"batch_size", "accumulate", "epochs", "max_steps"})
        steps = Plan(dataset.train, **train, ranks=gpus).steps
    except XtuneError as error:
        print(f"data        cannot be prepared: {error}")
        return
    if flops is not None:
        print(f"            {flops * report.tokens / 1e15:.3f} PFLOPs an epoch")
    print(f"data        {report.read:,} rows, {report.trained:,} trained")
    print(f"            {report.tokens:,} tokens, {report.trained_tokens:,} trained on")
    print(f"            {steps:,} steps on {gpus} device{'s' if gpus > 1 else ''}")


def print_fits(run: Run, setting: Setting) -> None:
    """Which ways to tune this model fit on which GPUs, with this config's length, batch and adapters."""
    from dataclasses import replace

    from xtune.estimate.memory import GIB, on_each, trained_parameters
    from xtune.estimate.plan import SIZES_GIB, fits, need, planned
    from xtune.tuning import TUNING

    model, gpus = run.model, max(1, setting.gpus)
    setting = replace(setting, gpus=gpus, width=2)
    options = {key: value for key, value in run.config.tuning.options.items() if key in ("rank", "targets", "dropout")}
    tunings = {name: kind(**(options if "rank" in kind.model_fields else {})) for name, kind in TUNING.items()}
    adapters = trained_parameters(model.config, tunings["lora"])
    strategies = planned(run.components.strategies)
    print(f"\nGiB on each of {gpus} GPU{'s' if gpus > 1 else ''} in bfloat16, where it fits")
    rows = [("  ", "", *(f"{size} GiB" for size in SIZES_GIB))]
    for name, tuning in tunings.items():
        trained = model.parameters if tuning.trains_everything else adapters
        for distributed in strategies if gpus > 1 else list(strategies)[:1]:
            cells = []
            for size in SIZES_GIB:
                base = tuning.base_quantization()
                alone = need(model, tuning, base, trained, run.optimizer, replace(setting, gpu_gib=size))
                memory = on_each(alone.memory, strategies[distributed], gpus, base)
                cells.append(f"{memory.total / GIB:.1f}" if fits(memory, size) else "-")
            rows.append((f"  {name}", distributed if gpus > 1 else "", *cells))
    print_table(rows)
