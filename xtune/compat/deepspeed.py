"""DeepSpeed: its engine's optimizer and weights, sums in place of means, and the sizes of weights that it sharded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def skip_shared_memory() -> None:
    """Keeps DeepSpeed on a CPU from building a C++ extension first, for a minute and a half."""
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def torch_optimizer(engine: Any) -> torch.optim.Optimizer:
    """The optimizer that an engine was made with, whose state and learning rate are those that count."""
    optimizer: torch.optim.Optimizer = engine.optimizer.optimizer
    return optimizer


def shards(engine: Any) -> list[torch.nn.Parameter]:
    """This rank's parts of the weights that train, at stage 3: the optimizer's groups are empty between two steps."""
    return list(engine.optimizer.fp32_partitioned_groups_flat)


def backward_sum(engine: Any, loss: Tensor, ranks: int) -> None:
    """Backward of a loss whose gradients are to be added up, over micro-batches and ranks: DeepSpeed takes means."""
    engine.backward(loss * ranks, scale_wrt_gas=False)


def whole_shape(weight: Tensor) -> torch.Size:
    """The shape of a weight, also of one that stage 3 has sharded: what is left of that is empty."""
    shape: torch.Size = getattr(weight, "ds_shape", weight.shape)
    return shape


def whole_size(weight: Tensor) -> int:
    """The number of numbers in a weight, also in one that stage 3 has sharded."""
    return int(getattr(weight, "ds_numel", weight.numel()))
