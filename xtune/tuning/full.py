"""Full fine-tuning: every weight is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from xtune.tuning.tuning import Tuning

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Full(Tuning):
    """Trains every weight. Needs about 16 bytes of memory a parameter in float32 with AdamW."""

    trains_everything: ClassVar[bool] = True

    def prepare(self, model: PreTrainedModel) -> PreTrainedModel:
        return model.requires_grad_(True)
