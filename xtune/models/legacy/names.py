"""The weight map of a legacy family, read as a dictionary of module names."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.core_model_loading import WeightConverter, WeightTransform

from xtune.models.legacy.weights import QKV, SplitQKV, join_qkv, split_qkv


class Names:
    """Translates names of modules of `family` (a legacy model class) with this config."""

    def __init__(self, family: Any, config: Any) -> None:
        self.config = config
        self.renamings = [one for one in family.weight_map if not isinstance(one, WeightConverter)]
        fused = (one for one in family.weight_map if isinstance(one, WeightConverter))
        self.fused: WeightConverter | None = next(fused, None)
        with torch.device("meta"):
            model = family(config)
        linear = (torch.nn.Linear, torch.nn.Embedding)
        self._native = {name for name, module in model.named_modules() if isinstance(module, linear)}

    def modules(self, layout: str) -> set[str]:
        """Names of the base's linear and embedding modules in the layout "native" or "original"."""
        return self._native if layout == "native" else {self.vendor(name)[0] for name in self._native}

    def native(self, vendor: str) -> list[str]:
        """The native names of a module: one, or those of q, k and v."""
        name = rename(f"{vendor}.", self.renamings)
        if self.fused is None or (match := self.fused.compiled_sources.search(name)) is None:
            return [name.removesuffix(".")]
        return [name.replace(match.group(), part).removesuffix(".") for part in QKV]

    def vendor(self, native: str) -> tuple[str, int | None]:
        """The vendor's name of a module; for q, k and v that of the fused one, and which of the three it is."""
        name, index = f"{native}.", None
        if self.fused is not None:
            index = next((number for number, part in enumerate(QKV) if part in name), None)
            if index is not None:
                name = name.replace(QKV[index], self.fused.reverse_transform().target_patterns[0])
        return rename(name, [one.reverse_transform() for one in reversed(self.renamings)]).removesuffix("."), index

    @property
    def rows(self) -> list[int]:
        """Output dimensions of q, k and v."""
        heads, kv, dim = (self.config.num_attention_heads, self.config.num_key_value_heads, self.config.head_dim)
        return [heads * dim, kv * dim, kv * dim]

    def split(self, fused: Tensor) -> list[Tensor]:
        """The rows of q, k and v of a fused module's tensor."""
        return split_qkv(fused, self.config, grouped=self._grouped)

    def join(self, parts: list[Tensor]) -> Tensor:
        """The reverse of split."""
        return join_qkv(parts, self.config, grouped=self._grouped)

    @property
    def _grouped(self) -> bool:
        assert self.fused is not None
        (operation,) = self.fused.operations
        assert isinstance(operation, SplitQKV)
        return operation.grouped


def rename(name: str, transforms: list[WeightTransform]) -> str:
    for transform in transforms:
        name, _ = transform.rename_source_key(name)
    return name
