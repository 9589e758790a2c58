"""The vendors' fused projections, taken apart when a checkpoint is read and joined again when it is written.

transformers runs these operations on every tensor that a weight map names, whatever the file format or the
quantisation, and their reverse when it saves (`transformers.conversion_mapping`). Sizes come from the config, never
from a parameter: under ZeRO-3 a parameter's shape is empty.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.core_model_loading import ConversionOps, WeightConverter, WeightRenaming

QKV = [r".self_attn.q_proj.", r".self_attn.k_proj.", r".self_attn.v_proj."]


def split_qkv(fused: Tensor, config: Any, *, grouped: bool) -> list[Tensor]:
    """q, k and v from a fused tensor of (heads + 2 * kv_heads) * head_dim rows; columns, if any, stay.

    The rows are [q | k | v], or with `grouped` (InternLM2), per kv head, its q heads, then k, then v.
    """
    heads, kv, dim = config.num_attention_heads, config.num_key_value_heads, config.head_dim
    if not grouped:
        return [part.contiguous() for part in fused.split([heads * dim, kv * dim, kv * dim])]
    rows = fused.reshape(kv, heads // kv + 2, dim, *fused.shape[1:])
    return [part.reshape(-1, *fused.shape[1:]).contiguous() for part in (rows[:, :-2], rows[:, -2], rows[:, -1])]


def join_qkv(parts: list[Tensor], config: Any, *, grouped: bool) -> Tensor:
    """The reverse of split_qkv."""
    if not grouped:
        return torch.cat(parts)
    kv, dim = config.num_key_value_heads, config.head_dim
    rest = parts[0].shape[1:]
    return torch.cat([part.reshape(kv, -1, dim, *rest) for part in parts], dim=1).reshape(-1, *rest)


class SplitQKV(ConversionOps):
    """split_qkv as an operation of a weight map."""

    def __init__(self, grouped: bool = False) -> None:
        self.grouped = grouped

    @torch.no_grad()
    def convert(
        self, input_dict: dict[str, Any], source_patterns: list[str], target_patterns: list[str], **given: Any
    ) -> dict[str, Tensor]:
        (fused,) = input_dict.values()
        parts = split_qkv(only(fused), given["config"], grouped=self.grouped)
        return dict(zip(target_patterns, parts, strict=True))

    @property
    def reverse_op(self) -> ConversionOps:
        return JoinQKV(self.grouped)


class JoinQKV(ConversionOps):
    """join_qkv as an operation of a weight map."""

    def __init__(self, grouped: bool = False) -> None:
        self.grouped = grouped

    @torch.no_grad()
    def convert(
        self, input_dict: dict[str, Any], source_patterns: list[str], target_patterns: list[str], **given: Any
    ) -> dict[str, Tensor]:
        parts = [only(input_dict[pattern]) for pattern in source_patterns]
        return {target_patterns[0]: join_qkv(parts, given["config"], grouped=self.grouped)}

    @property
    def reverse_op(self) -> ConversionOps:
        return SplitQKV(self.grouped)


def only(tensor: Tensor | list[Tensor]) -> Tensor:
    """transformers hands over a list when it loads and a tensor when it saves."""
    return tensor[0] if isinstance(tensor, list) else tensor


def renamed(names: dict[str, str]) -> list[WeightRenaming]:
    """Renamings of parts of a weight's name, vendor's -> native; `^` anchors one at the start."""
    return [WeightRenaming(escaped(vendor), escaped(native)) for vendor, native in names.items()]


def fused_qkv(name: str, *, grouped: bool = False) -> WeightConverter:
    """The map of a fused projection, by its part of the name."""
    return WeightConverter(escaped(name), [escaped(part) for part in QKV], [SplitQKV(grouped)])


def escaped(name: str) -> str:
    return name.replace(".", r"\.")
