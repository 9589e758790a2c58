"""A DeepSpeed JSON file, and the settings of a run that are put in place of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ConfigDict
from typing_extensions import TypedDict

from xtune.dist import ranks
from xtune.distributed.parallel import StepSettings
from xtune.errors import ConfigError
from xtune.foreign import read_json


class Zero(TypedDict, total=False):
    """What is read here of `zero_optimization`; the rest is for DeepSpeed to judge."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    stage: int
    offload_optimizer: dict[str, Any] | None
    offload_param: dict[str, Any] | None


class File(TypedDict, total=False):
    """What is read here of a DeepSpeed file."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    zero_optimization: Zero
    fp16: dict[str, Any]
    bf16: dict[str, Any]


def read_settings(path: Path) -> dict[str, Any]:
    """A DeepSpeed file's settings. Raises ConfigError."""
    settings: dict[str, Any] = read_json(path, what="DeepSpeed file", error=ConfigError, shape=File)
    if settings.get("zero_optimization", {}).get("stage") not in (1, 2, 3):
        raise ConfigError(
            f"DeepSpeed file has no zero_optimization.stage of 1, 2 or 3: got `{path}`",
            'write "zero_optimization": {"stage": 2} into it',
        )
    return settings


def stage_of(settings: dict[str, Any]) -> int:
    return int(settings["zero_optimization"]["stage"])


def reconcile(settings: dict[str, Any], step: StepSettings) -> tuple[dict[str, Any], list[str]]:
    """DeepSpeed settings with what the training config decides put in, and a line for each that said otherwise.

    "auto" and a missing setting are no difference. Weights that are trained stay float32 and the model computes under
    autocast, so DeepSpeed's own fp16 and bf16 are off.
    """
    decided: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": step.batch_size,
        "gradient_accumulation_steps": step.accumulate,
        "train_batch_size": step.batch_size * step.accumulate * ranks.world_size(),
        "gradient_clipping": step.max_grad_norm or 0.0,
    }
    result, differences = dict(settings), []
    for name, value in decided.items():
        if settings.get(name, "auto") not in ("auto", value):
            differences.append(f"{name} is {settings[name]}; the config's {value} is used")
        result[name] = value
    for name in ("fp16", "bf16"):
        if settings.get(name, {}).get("enabled") is True:
            differences.append(f"{name} is not used; model.dtype decides")
        result.pop(name, None)
    for name in ("optimizer", "scheduler"):
        if name in settings:
            differences.append(f"{name} is not used; the config's is")
        result.pop(name, None)
    return result | {"zero_allow_untested_optimizer": True, "zero_force_ds_cpu_optimizer": False}, differences
