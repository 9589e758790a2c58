"""The processes of a run, and the few things they exchange. With one process, all of it does nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


def world_size() -> int:
    import torch.distributed as dist

    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    import torch.distributed as dist

    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def device() -> torch.device:
    """This process's device: the CUDA device of its number on this machine, or the only one it sees; else the CPU."""
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    # Slurm may show each task a GPU of its own, which is number 0 to all of them
    number = int(os.environ.get("LOCAL_RANK", 0)) if torch.cuda.device_count() > 1 else 0
    return torch.device("cuda", number)


def sums(*values: float | torch.Tensor) -> list[float]:
    """Each value summed over the ranks, in float64."""
    import torch
    import torch.distributed as dist

    total = torch.stack([torch.as_tensor(value, dtype=torch.float64, device=device()) for value in values])
    if world_size() > 1:
        dist.all_reduce(total)
    return total.tolist()


def largest(value: int) -> int:
    """The largest of the ranks' values."""
    import torch
    import torch.distributed as dist

    if world_size() == 1:
        return value
    most = torch.tensor(value, device=device())
    dist.all_reduce(most, dist.ReduceOp.MAX)
    return int(most)


def gather(value: T) -> list[T]:
    """Every rank's value, in the order of the ranks, on every rank."""
    import torch.distributed as dist

    if world_size() == 1:
        return [value]
    values: list[T | None] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]


def barrier() -> None:
    import torch.distributed as dist

    if world_size() > 1:
        dist.barrier()
