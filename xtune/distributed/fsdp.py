"""Fully sharded data parallel, torch's second form (FSDP2): each process holds a part of every weight."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from xtune.dist import ranks
from xtune.distributed.parallel import Distributed, Parallel, Part, StepSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xtune.distributed.parallel import MakeOptimizer


class Fsdp(Distributed):
    """Weights, gradients and optimizer state sharded over processes; a layer's weights are gathered while it computes.

    Quantized weights are no numbers that could be sharded: they stay whole in every process.
    """

    needs_group: ClassVar[bool] = True

    @property
    def sharded(self) -> frozenset[Part]:
        return frozenset({"weights", "gradients", "optimizer"})

    @property
    def shards_on_load(self) -> bool:
        return True

    def start(self, module: nn.Module, make_optimizer: MakeOptimizer, step: StepSettings) -> Parallel:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        mesh = init_device_mesh(ranks.device().type, (ranks.world_size(),))
        whole = {parameter for parameter in module.parameters() if not parameter.is_floating_point()}
        for part in [*module.layers, module]:  # type: ignore[misc, union-attr]
            fully_shard(part, mesh=mesh, ignored_params=whole)  # type: ignore[arg-type]
        register_fsdp_forward_method(module, "generate")
        return FsdpParallel(module, make_optimizer(module), max_grad_norm=step.max_grad_norm)


class FsdpParallel(Parallel):
    """One process of FSDP, which averages gradients over ranks; ours are sums."""

    layout = "fsdp"

    @property
    def generates_together(self) -> bool:
        return ranks.world_size() > 1

    def micro_batch(self, *, last: bool) -> AbstractContextManager[Any]:
        self.module.set_requires_gradient_sync(last)  # type: ignore[operator]
        return nullcontext()

    def backward(self, loss: Tensor, *, last: bool) -> None:
        (loss * ranks.world_size()).backward()

    def weights(self) -> dict[str, Tensor]:
        self.module.reshard()  # type: ignore[operator]  # an evaluation leaves the outermost weights whole
        gathered = {}
        for name, parameter in self.module.named_parameters():
            if self.is_saved(parameter):
                tensor = parameter.detach().full_tensor()  # type: ignore[attr-defined]
                if ranks.rank() == 0:
                    gathered[name] = tensor.cpu()
        return gathered

    def generate(self, *inputs: Any, **options: Any) -> Any:
        return self.module.generate(*inputs, synced_gpus=self.generates_together, **options)  # type: ignore[operator]
