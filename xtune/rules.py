"""Settings that cannot stand together, each reported in one line that says what to change.

The config alone decides here, on whatever machine; what this machine lacks is found by `xtune.check`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xtune.errors import ConfigError
from xtune.models.count import matrices
from xtune.models.traits import TRAITS
from xtune.tuning.lora import Lora

if TYPE_CHECKING:
    from xtune.run import Run


ENDS = ("embed_tokens", "wte", "lm_head")
"""Embeddings and head, which may have adapters where they are named."""


def refuse_contradictions(run: Run) -> None:
    """Raises ConfigError for the first rule that the settings break."""
    for rule in RULES:
        rule(run)


def is_known(run: Run) -> bool:
    """Whether the weights are those that the model's spec describes: a path of the user's own may hold others."""
    return run.config.model.path == run.model.path


def beyond_context(run: Run) -> None:
    if is_known(run) and run.config.max_length > run.model.context:
        raise ConfigError(
            f"max_length is beyond the context of {run.config.model.name}: got `{run.config.max_length}`, it "
            f"takes {run.model.context}",
            f"set max_length={run.model.context} or less, or a model with a longer context",
        )


def half_precision(run: Run) -> None:
    if run.config.model.dtype == "float16":
        raise ConfigError("model.dtype=float16 cannot be trained: its gradients underflow", "use bfloat16 or float32")


def flash_in_float32(run: Run) -> None:
    if run.config.model.attention == "flash_attention_2" and run.config.model.dtype == "float32":
        raise ConfigError(
            "flash attention takes 16 bits: got model.dtype=float32", "set it to bfloat16, or model.attention to sdpa"
        )


def flash_with_alibi(run: Run) -> None:
    if run.config.model.attention == "flash_attention_2" and is_known(run) and run.model.config.get("alibi"):
        raise ConfigError(
            f"flash attention does not support the ALiBi of {run.config.model.name}", "set model.attention=sdpa"
        )


def unknown_targets(run: Run) -> None:
    """For models whose layers are known; those with experts, or of a user, are looked at where they are built."""
    if not isinstance(run.tuning, Lora) or run.tuning.targets == "all-linear":
        return
    traits = TRAITS.get(run.model.config.get("model_type", ""))
    if not is_known(run) or traits is None or traits.experts:
        return
    names = list(dict.fromkeys(matrix.name for matrix in matrices(run.model.config)))
    for target in run.tuning.targets:
        if target.rpartition(".")[2] not in (*names, *ENDS):
            raise ConfigError(
                f"tuning.targets names no layer of {run.config.model.name}: got `{target}`",
                f"it has {', '.join(names)}",
            )


def adapter_rate(run: Run) -> None:
    if run.config.optimizer.lora_plus_ratio is not None and not run.tuning.adapter_rank:
        raise ConfigError(
            f"optimizer.lora_plus_ratio needs LoRA: got tuning.name={run.config.tuning.name}", "leave it out"
        )


def quantized_start(run: Run) -> None:
    if run.quantization.bits and run.tuning.starts_from_base:
        raise ConfigError(
            f"tuning.init={run.config.tuning.options['init']} takes the adapters out of the base weights, which "
            f"{run.config.quantization or run.config.tuning.name} holds quantized",
            "set tuning.init=default, or tuning.name=lora",
        )


def quantized_training(run: Run) -> None:
    if run.quantization.bits and run.tuning.trains_everything:
        raise ConfigError(
            f"quantized weights cannot be trained: got tuning.name={run.config.tuning.name} and "
            f"quantization={run.config.quantization}",
            "set tuning.name=lora, or quantization=none",
        )


def sharded_moments(run: Run) -> None:
    if run.optimizer.needs_whole_weights and run.distributed.sharded:
        raise ConfigError(
            f"{run.config.optimizer.name} needs the rows and columns of whole weights, which this strategy "
            f"shards: got distributed={run.config.distributed_name}",
            "use distributed=ddp, or optimizer.name=adamw",
        )


def rising_rate(run: Run) -> None:
    lowest, highest = run.config.schedule.min_lr, run.config.optimizer.lr
    if lowest > highest:
        raise ConfigError(f"schedule.min_lr is above optimizer.lr: got {lowest:g} and {highest:g}", "lower min_lr")


def scalar_head(run: Run) -> None:
    if run.objective.head != "vocabulary":
        raise ConfigError(
            f"objective {run.config.objective.name} needs a head of one number, which no model is given yet",
            "set objective.name=sft or dpo",
        )


def nothing_held_out(run: Run) -> None:
    if run.config.evaluation.holdout or not (run.config.checkpoint.best or run.config.evaluation.patience):
        return
    wanted = "checkpoint.best" if run.config.checkpoint.best else "evaluation.patience"
    raise ConfigError(f"{wanted} needs held-out rows: got evaluation.holdout=0", "set it to 0.05 for instance")


RULES = (
    beyond_context,
    half_precision,
    flash_in_float32,
    flash_with_alibi,
    unknown_targets,
    adapter_rate,
    quantized_start,
    quantized_training,
    sharded_moments,
    rising_rate,
    scalar_head,
    nothing_held_out,
)
