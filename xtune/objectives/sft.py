"""Learning to write what the rows say, token by token."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from xtune.objectives.objective import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from xtune.data.collate import Batch
    from xtune.templates.render import Learn


class Sft(Objective):
    """Supervised fine-tuning: the cross entropy of every trained token, which the config's `learn` chooses."""

    summed: ClassVar[bool] = True
    unit: ClassVar[str] = "trained"
    loss_name: ClassVar[str] = "loss a trained token"

    def loss(self, log_probs: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return -log_probs.sum(), {}

    def weight(self, batch: Batch) -> int:
        return batch.trained

    def figures(self, loss: float, metrics: dict[str, float]) -> dict[str, float]:
        return {"perplexity": math.exp(min(loss, 700.0))}


class Pretrain(Sft):
    """Continued pre-training: the cross entropy of every token of a row, whatever `learn` says."""

    loss_mask: ClassVar[Learn | None] = "all"
