"""What is done to a model's decoder layers before training: checkpointing, compiling."""

from __future__ import annotations

import logging
from typing import Any, Literal

import torch
from torch import Tensor, nn

from xtune.training.forward import causal, decoder_layers

log = logging.getLogger(__name__)

ACTIVATION_BYTES = 34
"""A decoder layer keeps about this many times hidden size bytes a token for backward in 16 bits, twice that in fp32
(arXiv:2205.05198, section 4.1, without attention matrices)."""

GRADIENT_AND_STATE_BYTES = 12
"""Of a trained weight, in float32: its gradient and the two averages of AdamW, if no rank takes a share of them."""

COMPILE_FROM_MICRO_BATCHES = 300
"""Compiling layer by layer takes a minute the first time and saves about a sixth of each micro-batch on a CPU."""


def use_checkpointing(model: nn.Module, wanted: bool | Literal["auto"], *, tokens: int, device: torch.device) -> bool:
    """Turns gradient checkpointing on where wanted. Returns whether it is on.

    "auto" does so where the activations of a micro-batch of `tokens` would take more than half of the memory of
    `device` that gradients and optimizer leave free.
    """
    inner = causal(model)
    if wanted == "auto":
        coming = GRADIENT_AND_STATE_BYTES * sum(p.numel() for p in model.parameters() if p.requires_grad)
        wanted = bool(activation_bytes(inner, tokens) > (free_memory(device) - coming) / 2)
    if wanted:
        # bitsandbytes keeps the input of an 8-bit layer where only the reentrant kind drops it: 923 bytes for 187
        reentrant = getattr(inner, "is_loaded_in_8bit", False)
        inner.gradient_checkpointing_enable({"use_reentrant": reentrant})
        if reentrant:
            inner.enable_input_require_grads()  # it computes no gradient in a layer whose input needs none
    return wanted


def activation_bytes(model: Any, tokens: int) -> int:
    """About what the layers of `model` keep for backward from `tokens` tokens."""
    config = model.config
    width = 2 if next(model.parameters()).dtype in (torch.bfloat16, torch.float16) else 4
    return tokens * config.hidden_size * config.num_hidden_layers * ACTIVATION_BYTES * width // 2


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken on `device`."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return psutil.virtual_memory().available


def compile_layers(
    model: nn.Module, wanted: bool | Literal["auto"], *, micro_batches: int, device: torch.device
) -> bool:
    """Compiles each decoder layer by itself where wanted. Returns whether it did.

    "auto" does so in runs long enough for it to pay. Without a working compiler it says so and leaves the model.
    """
    if wanted == "auto":
        wanted = micro_batches >= COMPILE_FROM_MICRO_BATCHES
    if not wanted:
        return False
    try:
        torch.compile(_probe, fullgraph=True)(torch.ones(8, device=device))
    except Exception as error:  # whatever a toolchain that is missing or broken raises
        first = (str(error) or type(error).__name__).splitlines()[0]
        log.warning("layers are not compiled: no working compiler here (%s)", first)
        return False
    for layer in decoder_layers(model):
        layer.forward = torch.compile(layer.forward, dynamic=True)  # type: ignore[method-assign]
    return True


def _probe(x: Tensor) -> Tensor:
    return torch.sin(x) + 1
