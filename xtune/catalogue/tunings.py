"""The tuning axis, and the segments that a name may have besides: what each sets in a config."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a tuning sets in a config."""

    about: str
    tuning: dict[str, Any]
    lr: float
    optimizer: str


_ADAPTER = {"rank": 64, "alpha": 16, "dropout": 0.1, "targets": "all-linear"}

TUNINGS = {
    "qlora": Recipe(
        about="QLoRA",
        tuning={"name": "qlora", "bits": 4, "quant_type": "nf4", "double_quant": True, **_ADAPTER},
        lr=2e-4,
        optimizer="paged_adamw_32bit",
    ),
    "lora": Recipe(about="LoRA", tuning={"name": "lora", **_ADAPTER}, lr=2e-4, optimizer="adamw"),
    "int8_lora": Recipe(
        about="LoRA on 8-bit weights",
        tuning={"name": "int8_lora", **_ADAPTER, "rank": 16, "dropout": 0.05},
        lr=3e-4,
        optimizer="paged_adamw_32bit",
    ),
    "full": Recipe(about="full", tuning={"name": "full"}, lr=2e-5, optimizer="adamw"),
}

OBJECTIVES: dict[str, tuple[str, dict[str, Any]]] = {"": ("", {})}
"""What a run learns from a row: a segment of names, to what it is and the dotted keys that it sets. "" is sft."""

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "": ("", {}),
    # eight GPUs with eight rows each make a step
    "gpu8": ("for 8 GPUs", {"train.batch_size": 8, "train.accumulate": 1, "optimizer.name": "adamw"}),
    "hf": (
        "with the settings of Hugging Face's trainer",
        {"schedule.warmup_ratio": 0.0, "schedule.warmup_steps": 100, "checkpoint.every": 1000},
    ),
}
"""Settings under which XTuner offered a config a second time, in the same form."""
