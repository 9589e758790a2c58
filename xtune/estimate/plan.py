"""What a run will take, worked out before anything is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from xtune.distributed.parallel import Distributed
from xtune.errors import ModelError
from xtune.estimate.memory import (
    GIB,
    Memory,
    activations,
    count_trained,
    frozen_bytes,
    logits,
    on_each,
    prepared,
    skeleton,
    state,
)
from xtune.foreign import foreign
from xtune.models.config_file import load_config_file
from xtune.models.count import head_dim, used_parameters
from xtune.models.count import parameters as count
from xtune.models.skeleton import own_sizes
from xtune.optimizers.optimizer import Optimizer
from xtune.paths import is_local, packaged
from xtune.quantization.quantization import Quantization
from xtune.tuning.targets import what_is_trained
from xtune.tuning.tuning import Tuning

if TYPE_CHECKING:
    from xtune.config.schema import Config
    from xtune.models.spec import ModelSpec
    from xtune.run import Run

SIZES_GIB = (8, 16, 24, 40, 80)
"""Usual GPUs."""
RESERVED_GIB = 1.0
"""What the libraries take beside tensors: CUDA's context and workspaces, or on a CPU the process itself."""


MOST_BYTES = 2.0**60
"""More than any cluster has: an estimate beyond it comes from sizes that make no sense."""


@dataclass(frozen=True)
class Setting:
    """Where and on what a run is planned. `width` is that of the model's dtype in bytes; no GPU means the CPU."""

    tokens: int
    """Of a micro-batch."""
    width: int
    gpus: int
    gpu_gib: float
    checkpointing: bool | str
    batch_size: int = 1

    @property
    def mask(self) -> int:
        """Bytes of an element of dropout's mask, which on a CPU is a float32."""
        return 1 if self.gpus else 4


@dataclass(frozen=True)
class Need:
    """One way to tune a model: its trained parameters and its memory on one device."""

    trained: int
    memory: Memory
    checkpointing: bool


class Estimate(NamedTuple):
    """A run with the sizes of its own model, what that needs on one device, the memory on each of several, and what is
    trained, in words.
    """

    run: Run
    needed: Need
    memory: Memory
    said: str


def estimate(run: Run, setting: Setting, devices: int) -> Estimate:
    """What a run takes on `devices`.

    Raises TuningError where the tuning cannot be applied to the model. Raises ModelError or ConfigError where its sizes
    are not known, or are such that nobody can reckon with them: that is for those who ask to report, and keeps no run
    from training.
    """
    hint = "train one step to see what it takes (train.max_steps=1)"
    with foreign(f"the size of {run.config.model.path} cannot be estimated", ModelError, hint):
        run = with_own_sizes(run)
        model = prepared(skeleton(run.model.config), run.tuning)
        trained = count_trained(model)
        needed = need(run.model, run.tuning, run.quantization, trained, run.optimizer, setting)
        memory = on_each(needed.memory, run.distributed, devices, run.quantization)
        if run.model.parameters < 1 or not 0 < memory.total < MOST_BYTES:
            raise ValueError(f"its sizes give {run.model.parameters} parameters and {memory.total:.1e} bytes")
        return Estimate(run, needed, memory, what_is_trained(model))


def with_own_sizes(run: Run) -> Run:
    """The run with the sizes of the model that lies in a folder here, which may be another than the config's.

    Raises ModelError and ConfigError for a config.json that cannot be read, or that nobody can count by.
    """
    path = run.config.model.path
    if not is_local(path) or not Path(packaged(path), "config.json").is_file():
        return run
    sizes = own_sizes(load_config_file(path))
    return replace(run, model=replace(run.model, path=path, config=sizes, parameters=count(sizes)))


def setting_of(config: Config, gpus: int, gpu_gib: float, sequences: int = 1) -> Setting:
    """A config's Setting on `gpus` GPUs of `gpu_gib` GiB. "auto" is bfloat16 on a GPU and float32 on the CPU.

    `sequences` is how many token sequences an Example of the objective has.
    """
    width = {"auto": 2 if gpus else 4, "float32": 4}.get(config.model.dtype, 2)
    tokens = config.train.batch_size * config.max_length * sequences
    return Setting(tokens, width, gpus, gpu_gib, config.train.gradient_checkpointing, config.train.batch_size)


def planned(strategies: Mapping[str, Any]) -> dict[str, Distributed]:
    """The distributed strategies that a plan tries, by name, those that shard least first."""
    found = {name: kind() for name, kind in strategies.items() if getattr(kind, "planned", False)}
    return dict(sorted(found.items(), key=lambda item: len(item[1].sharded) + len(item[1].offloaded)))


def need(
    spec: ModelSpec, tuning: Tuning, quantization: Quantization, trained: int, optimizer: Optimizer, setting: Setting
) -> Need:
    """The memory of tuning `trained` parameters of a model so, on one device.

    Gradient checkpointing "auto" is on where activations would take more than half of what the rest leaves, as the
    engine decides.
    """
    sizes = spec.config
    kept = state(
        trained, frozen_bytes(sizes, tuning, quantization, spec.parameters, setting.width), optimizer.state_bytes
    )
    wanted = setting.checkpointing
    if wanted == "auto":
        whole = activations(sizes, tuning, setting.tokens, setting.width, setting.mask, checkpointing=False)
        wanted = whole > max(0.0, setting.gpu_gib * GIB - kept.weights) / 2
    kept = replace(
        kept,
        activations=activations(sizes, tuning, setting.tokens, setting.width, setting.mask, checkpointing=bool(wanted)),
        logits=logits(sizes, tuning, setting.tokens, setting.width),
    )
    if tuning.trains_everything and setting.width < 4:
        kept = replace(kept, activations=kept.activations + setting.width * trained)  # autocast's copy of the weights
    return Need(trained, kept, bool(wanted))


def flops_a_token(sizes: Mapping[str, Any], needed: Need, length: int, *, full: bool) -> float:
    """Floating point operations of training on one token, with `length` tokens of context.

    Forward takes 2 a weight that is used, and causal attention. Backward takes as many for the activations, and as
    many again for the weights that are trained; checkpointing adds a forward (arXiv:2205.05198).
    """
    attention = 2 * sizes["num_hidden_layers"] * sizes["num_attention_heads"] * head_dim(sizes) * length
    forward = 2.0 * used_parameters(sizes) + attention
    passes = 2 + needed.checkpointing + full
    return forward * passes + (0 if full else 6 * needed.trained)


def fits(memory: Memory, gib: float) -> bool:
    return memory.total + RESERVED_GIB * GIB <= gib * GIB


def advice(
    needed: Need, setting: Setting, quantization: Quantization, strategies: Mapping[str, Distributed]
) -> list[str]:
    """What to change, in the order in which it costs least, where a run does not fit."""
    memory, found = needed.memory, []
    if memory.activations + memory.logits > memory.total / 4:
        if not needed.checkpointing:
            found.append("train.gradient_checkpointing=true keeps one layer's activations at a time")
        if setting.batch_size > 1:
            found.append("a smaller train.batch_size with a larger train.accumulate gives the same result")
        found.append("a shorter max_length; too_long says what happens to longer rows")
    for name, distributed in strategies.items() if setting.gpus > 1 else ():
        each = on_each(memory, distributed, setting.gpus, quantization)
        if distributed.sharded and fits(each, setting.gpu_gib):
            return [*found, f"distributed={name} needs {each.total / GIB:.1f} GiB"]
    if quantization.bits != 4:
        found.append("the config of this name with qlora holds the base in 4 bits")
    return found or ["a larger GPU, or more of them with distributed=deepspeed_zero3_offload, or a smaller model"]
