"""Optimizers by name, and which weights get which learning rate and decay."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from xtune.errors import ConfigError, UnknownName

log = logging.getLogger(__name__)

BITSANDBYTES = {
    "paged_adamw_32bit": "PagedAdamW32bit",
    "paged_adamw_8bit": "PagedAdamW8bit",
    "adamw_8bit": "AdamW8bit",
}
"""Our names to bitsandbytes' classes: on CUDA, for weights that FSDP has not cut. Elsewhere adamw stands in, which is
the same in float32."""

NAMES = ("adamw", "adafactor", *BITSANDBYTES)


def build_optimizer(
    parameters: Iterable[tuple[str, nn.Parameter]],
    *,
    name: str,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    lora_plus_ratio: float | None = None,
) -> Optimizer:
    """The optimizer of that name for the named parameters that require a gradient.

    Each group carries `base_lr`, which the schedule's factor is applied to.
    Raises UnknownName; ConfigError where nothing is trained.
    """
    if name not in NAMES:
        raise UnknownName("optimizer", name, NAMES)
    groups = parameter_groups(parameters, lr=lr, weight_decay=weight_decay, lora_plus_ratio=lora_plus_ratio)
    device = groups[0]["params"][0].device
    if name == "adafactor":
        return torch.optim.Adafactor(groups, lr=lr)
    cut = any(isinstance(parameter, DTensor) for group in groups for parameter in group["params"])
    if name in BITSANDBYTES and device.type == "cuda" and not cut:
        import bitsandbytes

        return getattr(bitsandbytes.optim, BITSANDBYTES[name])(groups, lr=lr, betas=betas, eps=eps)
    if name in BITSANDBYTES:
        needs = "takes no weights that FSDP has cut" if cut else "needs a CUDA device"
        log.info("optimizer: adamw stands in for %s, which %s", name, needs)
    return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, fused=device.type == "cuda")


def parameter_groups(
    parameters: Iterable[tuple[str, nn.Parameter]],
    *,
    lr: float,
    weight_decay: float,
    lora_plus_ratio: float | None,
) -> list[dict[str, Any]]:
    """Groups by learning rate and decay, in a fixed order.

    Weight decay spares vectors: norms and biases. LoRA+ (arXiv:2402.12354) gives the B matrices of adapters
    `lora_plus_ratio` times the learning rate.
    """
    trained = [(name, parameter) for name, parameter in parameters if parameter.requires_grad]
    if not trained:
        raise ConfigError("nothing is trained: no weight requires a gradient; check tuning.targets")
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in trained:
        rate = lr * lora_plus_ratio if lora_plus_ratio is not None and "lora_B" in name else lr
        shape = getattr(parameter, "ds_shape", parameter.shape)  # that of a weight which ZeRO-3 has cut
        decay = weight_decay if len(shape) > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": members, "lr": base_lr, "base_lr": base_lr, "weight_decay": decay}
        for (base_lr, decay), members in groups.items()
    ]
