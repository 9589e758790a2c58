"""One process on one device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xtune.dist import ranks
from xtune.distributed.parallel import Distributed, Parallel, StepSettings
from xtune.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from xtune.distributed.parallel import MakeOptimizer


class Single(Distributed):
    """One process on one device."""

    def start(self, module: nn.Module, make_optimizer: MakeOptimizer, step: StepSettings) -> Parallel:
        if ranks.world_size() > 1:
            raise ConfigError(
                f"distributed=single runs one process: got `{ranks.world_size()}`",
                "choose ddp, fsdp or a deepspeed one",
            )
        return Parallel(module, make_optimizer(module), max_grad_norm=step.max_grad_norm)
