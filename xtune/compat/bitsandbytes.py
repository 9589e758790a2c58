"""bitsandbytes: 4-bit weights on a CPU, and paged optimizer state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

PAGED = ("state1", "state2")


def keep_weights_readable(model: nn.Module) -> None:
    """Keeps 4-bit weights from being repacked the first time that they are used in eval mode.

    It is done on CPUs with AVX512-BF16, for a kernel that has no backward: an evaluation would end the gradients of all
    training after it. DoRA could not read the repacked weights either.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def is_paged(optimizer: Any, key: str) -> bool:
    """Whether `key` of a parameter's state lies in memory that is moved to the device and back as it is needed."""
    return key in PAGED and bool(getattr(optimizer, "is_paged", False))


def paged(value: Tensor, parameter: Tensor, optimizer: Any) -> Tensor:
    """`value` in such memory of `optimizer`, as the state of `parameter` was made at first."""
    import torch

    buffer: Tensor = optimizer.get_state_buffer(parameter, dtype=value.dtype)
    if parameter.is_cuda:
        torch.cuda.synchronize(parameter.device)  # the buffer is filled with zeros in the background
    return buffer.copy_(value)
