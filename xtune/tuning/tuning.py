"""What a strategy is. Its fields are its options: typed, strict, and written under its name in a config.

A tuning strategy says how weights are changed (all of them, or adapters on a base that may be quantized). A distributed
strategy says how the work is spread over processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from xtune.config.schema import Settings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class Strategy(Settings):
    """Base of all strategies."""

    kind: ClassVar[Literal["tuning", "distributed"]]


class Tuning(Strategy):
    """How weights are tuned."""

    kind: ClassVar[Literal["tuning", "distributed"]] = "tuning"

    def quantization(self, compute_dtype: torch.dtype) -> Any | None:
        """The transformers quantization config that the base model is loaded with, or None."""
        return None

    def prepare(self, model: PreTrainedModel) -> PreTrainedModel:
        """The model with exactly the weights that train marked as such; adapters are added as a PeftModel."""
        raise NotImplementedError

    def begin(self, model: PreTrainedModel) -> None:
        """Gives what `prepare` added its first values, where a run begins. One that is resumed has its checkpoint's."""
