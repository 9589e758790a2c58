"""Every process holds the whole model; gradients are summed over processes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from xtune.dist import ranks
from xtune.distributed.parallel import Distributed, Parallel, StepSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xtune.distributed.parallel import MakeOptimizer


class Ddp(Distributed):
    """The whole model in every process; gradients are summed over processes."""

    planned: ClassVar[bool] = True

    def start(self, module: nn.Module, make_optimizer: MakeOptimizer, step: StepSettings) -> Parallel:
        from torch.nn.parallel import DistributedDataParallel

        if ranks.world_size() == 1:
            return Parallel(module, make_optimizer(module), max_grad_norm=step.max_grad_norm)
        device = ranks.device()
        wrapped = DistributedDataParallel(
            module,
            device_ids=[device.index] if device.type == "cuda" else None,
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
        )
        return DdpParallel(wrapped, make_optimizer(module), max_grad_norm=step.max_grad_norm)


class DdpParallel(Parallel):
    """One process of DDP, which averages gradients over ranks; ours are sums."""

    @property
    def inner(self) -> nn.Module:
        return self.module.module  # type: ignore[return-value]

    def micro_batch(self, *, last: bool) -> AbstractContextManager[Any]:
        return nullcontext() if last else self.module.no_sync()  # type: ignore[operator]

    def backward(self, loss: Tensor, *, last: bool) -> None:
        (loss * ranks.world_size()).backward()

    def weights(self) -> dict[str, Tensor]:
        return super().weights() if ranks.rank() == 0 else {}


class Auto(Ddp):
    """One device where there is one process, DDP where there are several."""

    planned: ClassVar[bool] = False
