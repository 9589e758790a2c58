"""DeepSpeed's ZeRO: optimizer state (1), gradients (2) and weights (3) sharded over processes, on the CPU if asked."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from xtune.compat.deepspeed import backward_sum, shards, skip_shared_memory, torch_optimizer
from xtune.dist import ranks
from xtune.distributed.deepspeed_file import read_settings, reconcile, stage_of
from xtune.distributed.parallel import Distributed, Parallel, Part, StepSettings
from xtune.errors import ConfigError
from xtune.foreign import foreign
from xtune.paths import packaged

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from xtune.distributed.parallel import MakeOptimizer

log = logging.getLogger(__name__)


SHARDED_FROM: dict[int, Part] = {1: "optimizer", 2: "gradients", 3: "weights"}
"""What is sharded from a stage of ZeRO on (arXiv:1910.02054)."""
OFFLOADS: dict[str, Part] = {"offload_optimizer": "optimizer", "offload_param": "weights"}
"""What a key of zero_optimization puts into the machine's memory."""


class DeepSpeed(Distributed):
    """ZeRO as a DeepSpeed JSON file says; what the training config says too is taken from there."""

    needs_group: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ("deepspeed",)
    packaged_file: ClassVar[str | None] = None
    """The file of a strategy that has a name of its own."""

    file: str | None = Field(default=None, description="DeepSpeed's JSON file, in place of the settings of this name")

    def start(self, module: nn.Module, make_optimizer: MakeOptimizer, step: StepSettings) -> Parallel:
        if find_spec("deepspeed") is None:
            raise ConfigError(
                "DeepSpeed is not installed: got a deepspeed strategy", "pip install deepspeed, or use fsdp"
            )
        settings, differences = reconcile(self.settings(), step)
        if ranks.rank() == 0:
            for difference in differences:
                log.warning("DeepSpeed file %s: %s", self.file or type(self).__name__, difference)
        engine = initialize(module, make_optimizer, settings)
        return ZeroParallel(engine, max_grad_norm=step.max_grad_norm)

    @property
    def sharded(self) -> frozenset[Part]:
        stage = stage_of(self.settings())
        return frozenset(SHARDED_FROM[part] for part in SHARDED_FROM if part <= stage)

    @property
    def offloaded(self) -> frozenset[Part]:
        zero = self.settings()["zero_optimization"]
        return frozenset(
            part for key, part in OFFLOADS.items() if (zero.get(key) or {}).get("device", "none") != "none"
        )

    @property
    def shards_on_load(self) -> bool:
        return stage_of(self.settings()) == 3

    def settings(self) -> dict[str, Any]:
        """DeepSpeed's settings as the file has them. Raises ConfigError."""
        file = self.file or self.packaged_file
        if file is None:
            raise ConfigError(
                "distributed.file is missing: the strategy deepspeed needs a DeepSpeed JSON file",
                "pass --deepspeed FILE, or deepspeed_zero2",
            )
        return read_settings(Path(packaged(file)))


def zero(name: str) -> type[DeepSpeed]:
    """The strategy with the settings of this name."""
    file = f"package:xtune/configs/deepspeed/{name}.json"
    facts = {"packaged_file": file, "planned": True, "__doc__": DeepSpeed.__doc__, "__annotations__": {}}
    return type(name, (DeepSpeed,), facts)


def initialize(module: nn.Module, make_optimizer: MakeOptimizer, settings: dict[str, Any]) -> Any:
    """DeepSpeed's engine around `module`, whose weights stage 3 shards on their way from the CPU, one by one."""
    import deepspeed

    if ranks.device().type == "cpu":
        skip_shared_memory()
    if not deepspeed.comm.is_initialized():
        deepspeed.init_distributed()  # it takes over torch's group
    if stage_of(settings) == 3:
        deepspeed.zero.Init(module=module, config_dict_or_path=settings)
        for buffer in module.buffers():
            buffer.data = buffer.data.to(ranks.device())
    optimizer = make_optimizer(module)
    with foreign("DeepSpeed cannot start", ConfigError, "check its file, or take deepspeed_zero2 or deepspeed_zero3"):
        return deepspeed.initialize(model=module, optimizer=optimizer, config=settings, dist_init_required=False)[0]


class ZeroParallel(Parallel):
    """One process of ZeRO. DeepSpeed averages gradients over ranks; ours are sums."""

    def __init__(self, engine: Any, *, max_grad_norm: float | None) -> None:
        super().__init__(engine, torch_optimizer(engine), max_grad_norm=max_grad_norm)
        self.engine = engine
        self.stage = engine.zero_optimization_stage()
        self.layout = f"zero{self.stage}"

    @property
    def generates_together(self) -> bool:
        return self.stage == 3 and ranks.world_size() > 1

    @property
    def inner(self) -> nn.Module:
        return self.engine.module

    def generate(self, *inputs: Any, **options: Any) -> Any:
        return super().generate(*inputs, synced_gpus=self.generates_together, **options)

    def micro_batch(self, *, last: bool) -> AbstractContextManager[Any]:
        self.engine.set_gradient_accumulation_boundary(last)
        return nullcontext()

    def backward(self, loss: Tensor, *, last: bool) -> None:
        backward_sum(self.engine, loss, ranks.world_size())

    def update(self) -> float:
        """Clips and steps. DeepSpeed reports the norm after the step."""
        self.engine.step()
        return float(self.engine.get_global_grad_norm())

    def trained(self) -> list[torch.nn.Parameter]:
        return shards(self.engine) if self.stage == 3 else super().trained()

    def weights(self) -> dict[str, Tensor]:
        import deepspeed

        gathered = {}
        for name, parameter in self.inner.named_parameters():
            if self.is_saved(parameter):
                with deepspeed.zero.GatheredParameters([parameter], enabled=self.stage == 3):
                    if ranks.rank() == 0:
                        gathered[name] = parameter.detach().cpu().clone()
        return gathered
