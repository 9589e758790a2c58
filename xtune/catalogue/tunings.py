"""The tuning axis: options, learning rate and optimizer of each strategy."""

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
