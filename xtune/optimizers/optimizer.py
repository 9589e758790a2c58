"""What an optimizer is, and which weights get which learning rate and decay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from xtune.compat.deepspeed import whole_shape
from xtune.config.schema import Settings
from xtune.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import nn

Groups = list[dict[str, Any]]


class Optimizer(Settings):
    """An optimizer by name; its fields are the options that only it has."""

    state_bytes: ClassVar[float] = 8.0
    """Of a trained weight, beside the weight and its gradient."""
    needs_whole_weights: ClassVar[bool] = False
    """Whether it looks at rows and columns, which a sharded weight does not have."""

    def make(self, groups: Groups, *, lr: float, betas: tuple[float, float], eps: float) -> torch.optim.Optimizer:
        """A torch optimizer for parameter groups, whose weights lie where they will be trained."""
        raise NotImplementedError


def parameter_groups(
    parameters: Iterable[tuple[str, nn.Parameter]],
    *,
    lr: float,
    weight_decay: float,
    lora_plus_ratio: float | None,
) -> Groups:
    """The parameters that require a gradient, in groups by learning rate and decay, in a fixed order.

    Each group carries `base_lr`, which the schedule's factor is applied to. Weight decay spares vectors: norms and
    biases. LoRA+ (arXiv:2402.12354) gives the B matrices of adapters `lora_plus_ratio` times the learning rate.
    Raises ConfigError where nothing is trained.
    """
    trained = [(name, parameter) for name, parameter in parameters if parameter.requires_grad]
    if not trained:
        raise ConfigError("nothing is trained: no weight requires a gradient", "check tuning.targets")
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in trained:
        rate = lr * lora_plus_ratio if lora_plus_ratio is not None and "lora_B" in name else lr
        decay = weight_decay if len(whole_shape(parameter)) > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": members, "lr": base_lr, "base_lr": base_lr, "weight_decay": decay}
        for (base_lr, decay), members in groups.items()
    ]
