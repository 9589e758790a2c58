"""AdamW (arXiv:1711.05101), torch's and bitsandbytes', and Adafactor (arXiv:1804.04235)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ClassVar

from xtune.optimizers.optimizer import Groups, Optimizer

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


class AdamW(Optimizer):
    """AdamW with float32 state."""

    def make(self, groups: Groups, *, lr: float, betas: tuple[float, float], eps: float) -> torch.optim.Optimizer:
        import torch

        fused = groups[0]["params"][0].device.type == "cuda"
        return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, fused=fused)


class Adafactor(Optimizer):
    """Second moments by sums over rows and columns only."""

    state_bytes: ClassVar[float] = 0.0
    needs_whole_weights: ClassVar[bool] = True

    def make(self, groups: Groups, *, lr: float, betas: tuple[float, float], eps: float) -> torch.optim.Optimizer:
        import torch

        return torch.optim.Adafactor(groups, lr=lr)


class BitsAndBytes(AdamW):
    """One of bitsandbytes' forms of AdamW: on CUDA, for weights that FSDP has not sharded. Elsewhere it falls back to
    adamw, which is the same in float32, and says so.
    """

    kind: ClassVar[str]

    def make(self, groups: Groups, *, lr: float, betas: tuple[float, float], eps: float) -> torch.optim.Optimizer:
        from torch.distributed.tensor import DTensor

        sharded = any(isinstance(parameter, DTensor) for group in groups for parameter in group["params"])
        if groups[0]["params"][0].device.type == "cuda" and not sharded:
            import bitsandbytes

            optimizer: torch.optim.Optimizer = getattr(bitsandbytes.optim, self.kind)(
                groups, lr=lr, betas=betas, eps=eps
            )
            return optimizer
        needs = "takes no weights that FSDP has sharded" if sharded else "needs a CUDA device"
        log.info("optimizer: falling back to adamw: %s %s", self.kind, needs)
        return super().make(groups, lr=lr, betas=betas, eps=eps)


class AdamW8bit(BitsAndBytes):
    """AdamW with 8-bit state (arXiv:2110.02861), from bitsandbytes."""

    kind: ClassVar[str] = "AdamW8bit"
    state_bytes: ClassVar[float] = 2.0


class PagedAdamW8bit(BitsAndBytes):
    """AdamW with 8-bit state in memory that CUDA pages out where the GPU is full, from bitsandbytes."""

    kind: ClassVar[str] = "PagedAdamW8bit"
    state_bytes: ClassVar[float] = 2.0


class PagedAdamW32bit(BitsAndBytes):
    """AdamW with state in memory that CUDA pages out where the GPU is full, from bitsandbytes."""

    kind: ClassVar[str] = "PagedAdamW32bit"
