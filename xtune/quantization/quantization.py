"""How the weights of a base model are held: a property of the base, whatever is trained on top of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from xtune.config.schema import Settings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class Quantization(Settings):
    """A way to hold the weights of the base model's linear layers; its fields are its options.

    This class itself is "none": weights in the model's dtype.
    """

    bits: ClassVar[int | None] = None
    """Of a weight; None where weights are not quantized."""
    readable_on_cpu: ClassVar[bool] = True
    """Whether a CPU can compute the weights back, which DoRA needs."""

    def bytes_per_weight(self, width: int) -> float:
        """Of a weight of a linear layer, scales included; `width` is that of the model's dtype in bytes."""
        return width

    def load_options(self, compute_dtype: torch.dtype) -> Any | None:
        """The transformers quantization config that the base is loaded with; None for none."""
        return None

    def prepare(self, model: PreTrainedModel) -> None:
        """Makes the loaded base fit for training on top of it."""


class FromTuning(Quantization):
    """What a plugin's tuning strategy says by `quantization(compute_dtype)`, as it was before this was a component."""

    make: Any  # Callable[[torch.dtype], Any]

    def load_options(self, compute_dtype: torch.dtype) -> Any:
        return self.make(compute_dtype)
