"""What the names of a config mean on a device: dtype, attention, quantization."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from xtune.errors import ModelError
from xtune.quantization.bits import Int8, Nf4

if TYPE_CHECKING:
    import torch


BITS = {4: Nf4, "4bit": Nf4, "nf4": Nf4, 8: Int8, "8bit": Int8, "int8": Int8}


def pick_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """The torch dtype that a config's name means on `device`."""
    import torch

    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        fast = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if fast else torch.float32
    if not isinstance(found := getattr(torch, dtype, None), torch.dtype):
        raise ModelError(f"unknown dtype: got `{dtype}`", "use auto, float32, bfloat16 or float16")
    return found


def pick_attention(
    attention: str, device: torch.device, dtype: torch.dtype, *, flash: bool = True, sdpa: bool = True
) -> str:
    """The attention implementation that a config's name means on `device`, for a model that `flash` and `sdpa` fit.

    Gemma 2 caps its scores, which sdpa cannot do.
    """
    import torch

    fits = device.type == "cuda" and dtype in (torch.bfloat16, torch.float16)
    if attention == "auto":
        if flash and fits and find_spec("flash_attn"):
            return "flash_attention_2"
        return "sdpa" if sdpa else "eager"
    if attention == "flash_attention_2":
        if not find_spec("flash_attn"):
            raise ModelError("flash attention is missing: got attention=flash_attention_2", "pip install flash-attn")
        if not fits:
            raise ModelError(
                f"flash attention needs a CUDA device and bfloat16 or float16: got `{device.type}` and {dtype}",
                "use sdpa",
            )
    return attention


def quantization_config(quantization: Any, compute_dtype: torch.dtype) -> Any:
    """A transformers quantization config; 4 and 8 stand for bitsandbytes NF4 with double quantization and int8."""
    if not isinstance(quantization, (int, str)):
        return quantization
    if quantization not in BITS:
        raise ModelError(
            f"unknown quantization: got `{quantization}`", "use 4, 8 or a transformers quantization config"
        )
    return BITS[quantization]().load_options(compute_dtype)
