"""What the model classes of the legacy families have in common."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

NOT_CARRIED = {"architectures", "dtype", "transformers_version"}


class StoredFrequencies(nn.Module):
    """Rotary frequencies that a vendor's layout stores, though they follow from the config.

    Nothing reads this buffer; it is kept so that what is saved is what was loaded, bit for bit. `dim` is the number of
    rotated dimensions of a head. A checkpoint without the buffer is saved without it.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        # transformers builds a model under its dtype as the default, but loads buffers in the dtype that they have
        self.register_buffer("inv_freq", self.fresh().to(torch.get_default_dtype()))

    def fresh(self) -> Tensor:
        return 10000.0 ** -(torch.arange(0, self.dim, 2).float() / self.dim)


class StoresFrequencies:
    """Put before a model class of transformers that has StoredFrequencies among its modules."""

    _keys_to_ignore_on_load_missing: ClassVar[list[str]] = [r"rotary_(emb|pos_emb)\.inv_freq$"]

    def _init_weights(self, module: nn.Module) -> None:
        """transformers calls this for what a checkpoint does not have."""
        super()._init_weights(module)  # type: ignore[misc]
        if isinstance(module, StoredFrequencies):
            fresh = module.fresh().to(module.inv_freq.device, module.inv_freq.dtype)
            module.register_buffer("inv_freq", fresh, persistent=False)


class LegacyModel:
    """Put before a causal language model of transformers that a vendor's checkpoint fits."""

    config: Any
    generation_config: Any
    native: ClassVar[Any]
    """The class of transformers whose layout computes the same."""
    weight_map: ClassVar[list[Any]] = []
    """The vendor's weights to those of `native`, read forwards at loading and backwards at saving."""
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [r"rotary_emb\.inv_freq$"]

    def native_settings(self) -> dict[str, Any]:
        """The settings of `native`'s config. Raises ModelError for a model that `native` cannot compute."""
        names = {field.name for field in fields(self.native.config_class)} - NOT_CARRIED
        return {name: getattr(self.config, name) for name in names}

    def native_state_dict(self) -> dict[str, Tensor]:
        """The weights of `native`; they share memory with this model's."""
        stored = [name for name, module in self.named_modules() if isinstance(module, StoredFrequencies)]  # type: ignore[attr-defined]
        state = self.state_dict()  # type: ignore[attr-defined]
        return {key: value for key, value in state.items() if key.rpartition(".")[0] not in stored}
