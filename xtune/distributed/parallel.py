"""What the training loop sees of a distributed strategy: one process's share of the model and of its optimizer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from xtune.tuning.tuning import Strategy

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.optim import Optimizer

    MakeOptimizer = Callable[[nn.Module], Optimizer]


Part = Literal["weights", "gradients", "optimizer"]


class Distributed(Strategy):
    """How the work is distributed over processes."""

    kind: ClassVar[Literal["tuning", "distributed"]] = "distributed"
    needs_group: ClassVar[bool] = False
    """Whether it needs a process group even for one process."""
    packages: ClassVar[tuple[str, ...]] = ()
    """What has to be installed for it, beyond what xtune installs everywhere."""
    planned: ClassVar[bool] = False
    """Whether `xtune plan` tries it beside the config's own."""

    @property
    def sharded(self) -> frozenset[Part]:
        """What each device holds only its share of. Quantized weights stay whole on each."""
        return frozenset()

    @property
    def offloaded(self) -> frozenset[Part]:
        """What lies in the machine's memory instead."""
        return frozenset()

    @property
    def shards_on_load(self) -> bool:
        """Whether it moves a model from the CPU to the devices itself, so that no device ever holds all of it."""
        return False

    def start(self, module: nn.Module, make_optimizer: MakeOptimizer, step: StepSettings) -> Parallel:
        """Spreads `module`, whose forward gives a loss, and makes its optimizer.

        `module.layers` are the parts that a sharding strategy gathers one at a time.
        Raises ConfigError where the strategy cannot run here.
        """
        raise NotImplementedError


class StepSettings(NamedTuple):
    """What a step is: micro-batches of `batch_size` rows, `accumulate` of them, and the norm to clip gradients to."""

    batch_size: int = 1
    accumulate: int = 1
    max_grad_norm: float | None = None


class Parallel:
    """The model in training, alone in its process; the base of the others.

    A step is: `micro_batch` and `backward` for every micro-batch, then `update`. Gradients are sums over all
    micro-batches and all ranks: a strategy whose library averages over ranks undoes that.
    """

    def __init__(self, module: nn.Module, optimizer: Optimizer, *, max_grad_norm: float | None) -> None:
        self.module = module
        self.optimizer = optimizer
        self.max_grad_norm = max_grad_norm

    layout: str = "whole"
    """How the optimizer's state lies on the ranks: "whole" on each, or sharded, in a way that this names."""

    @property
    def generates_together(self) -> bool:
        """Whether ranks wait for each other while they generate, for each holds a part of every weight."""
        return False

    @property
    def inner(self) -> nn.Module:
        """The module that was given to the strategy."""
        return self.module

    def micro_batch(self, *, last: bool) -> AbstractContextManager[Any]:
        """Around forward and backward of a micro-batch; gradients are exchanged in the last one of a step."""
        return nullcontext()

    def backward(self, loss: Tensor, *, last: bool) -> None:
        loss.backward()

    def update(self) -> float:
        """Clips, steps, clears the gradients. Returns the gradient's norm before clipping.

        A norm that is not finite leaves the weights as they were.
        """
        norm = self.gradient_norm()
        if norm == norm and norm != float("inf"):
            if self.max_grad_norm is not None and norm > self.max_grad_norm:
                self._scale_gradients(self.max_grad_norm / (norm + 1e-6))
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def gradient_norm(self) -> float:
        import torch

        norm = torch.nn.utils.get_total_norm([p.grad for p in self.trained() if p.grad is not None])
        return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)

    def _scale_gradients(self, factor: float) -> None:
        for parameter in self.trained():
            if parameter.grad is not None:
                parameter.grad.mul_(factor)

    def trained(self) -> list[torch.nn.Parameter]:
        """The parameters that the optimizer steps, in a fixed order. Under ZeRO they are flat parts of the weights."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def weights(self) -> dict[str, Tensor]:
        """The weights that a checkpoint holds, whole and on the CPU, by their name in the inner module; empty but on
        rank 0.
        """
        return {name: p.detach().cpu() for name, p in self.inner.named_parameters() if self.is_saved(p)}

    def is_saved(self, parameter: Tensor) -> bool:
        """Of an adapter the trained weights are saved; of a whole model all are, since it has to load by itself."""
        return parameter.requires_grad or not hasattr(self.inner.model, "peft_config")

    def generate(self, *inputs: Any, **options: Any) -> Any:
        """`generate` of the model in the inner module. All ranks call it together, with the same arguments."""
        return self.inner.model.generate(*inputs, **options)  # type: ignore[operator, union-attr]
