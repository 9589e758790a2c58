"""Rotary frequencies that some vendors' layouts store, though they follow from the config."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn


class StoredFrequencies(nn.Module):
    """A buffer that nothing reads, kept so that what is saved is what was loaded, bit for bit.

    `dim` is the number of rotated dimensions of a head. A checkpoint without the buffer is saved without it.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("inv_freq", self.fresh())

    def fresh(self) -> torch.Tensor:
        return 10000.0 ** -(torch.arange(0, self.dim, 2).float() / self.dim)


class KeepsFrequencies:
    """Put before a model class of transformers that has StoredFrequencies."""

    _keys_to_ignore_on_load_missing: ClassVar[list[str]] = [r"rotary_(emb|pos_emb)\.inv_freq$"]

    def _init_weights(self, module: nn.Module) -> None:
        """transformers calls this for what a checkpoint does not have."""
        super()._init_weights(module)  # type: ignore[misc]
        if isinstance(module, StoredFrequencies):
            fresh = module.fresh().to(module.inv_freq.device, module.inv_freq.dtype)
            module.register_buffer("inv_freq", fresh, persistent=False)
