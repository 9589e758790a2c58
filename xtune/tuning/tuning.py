"""What a strategy is. Its fields are its options: typed, strict, and written under its name in a config.

A tuning strategy says how weights are changed (all of them, or adapters on a base that may be quantized). A distributed
strategy says how the work is distributed over processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from xtune.config.schema import Settings
from xtune.errors import ConfigError
from xtune.models.count import Matrix
from xtune.quantization.quantization import Quantization

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class TuningError(ConfigError):
    """A tuning cannot be applied to a model."""


class Strategy(Settings):
    """Base of all strategies."""

    kind: ClassVar[Literal["tuning", "distributed"]]


class Tuning(Strategy):
    """How weights are tuned."""

    kind: ClassVar[Literal["tuning", "distributed"]] = "tuning"
    trains_everything: ClassVar[bool] = False
    """Whether every weight of the model is trained, so that none may be quantized."""
    freezes_base: ClassVar[bool] = False
    """Whether no weight of the base is trained: its layers then keep less for backward."""

    @property
    def starts_from_base(self) -> bool:
        """Whether adapters begin as a part of the base's weights, which then have to be at hand unquantized."""
        return False

    def base_quantization(self) -> Quantization:
        """How the base is quantized where the config does not say."""
        return Quantization()

    def quantization(self, compute_dtype: torch.dtype) -> Any | None:
        """The transformers quantization config of the base. Since API 1.1 the config's `quantization` says it; one that
        a plugin's strategy gives here still counts.
        """
        return self.base_quantization().load_options(compute_dtype)

    def adapted(self, linear: Sequence[Matrix]) -> list[Matrix]:
        """Those of the base's linear matrices that get an adapter."""
        return []

    @property
    def adapter_rank(self) -> int:
        """Inner dimension of an adapter."""
        return 0

    @property
    def adapter_dropout(self) -> float:
        """Share of an adapter's input that is dropped while training."""
        return 0.0

    def prepare(self, model: PreTrainedModel) -> PreTrainedModel:
        """The model with exactly the weights that train marked as such; adapters are added as a PeftModel."""
        raise NotImplementedError

    def begin(self, model: PreTrainedModel) -> None:
        """Gives what `prepare` added its first values, where a run begins. One that is resumed has its checkpoint's."""
