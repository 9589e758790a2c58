"""Baichuan and Baichuan 2: Llama with fused q, k, v; the 13B ones with ALiBi (arXiv:2108.12409) instead of rotary
positions, the second generation with a normalised head (arXiv:2309.10305, section 2.3)."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel
from transformers.cache_utils import Cache
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import BaseModelOutputWithPast

from xtune.compat.transformers import attention_of
from xtune.errors import ModelError
from xtune.models.legacy.config import VendorConfig
from xtune.models.legacy.family import LegacyModel, StoredFrequencies, StoresFrequencies
from xtune.models.legacy.weights import fused_qkv

VOCABULARY_2 = 100_000
"""Baichuan 2's vocabulary (125,696) is larger, Baichuan's (64,000) smaller."""


class BaichuanConfig(VendorConfig, LlamaConfig):
    """`alibi` and `norm_head` are not in the vendor's files; which code lies beside the weights decided."""

    model_type = "baichuan"
    alibi: bool = False
    norm_head: bool = False

    @classmethod
    def translate(cls, settings: dict[str, Any]) -> None:
        settings.setdefault("alibi", "max_position_embeddings" not in settings)  # 13B: only model_max_length
        settings.setdefault("norm_head", settings["vocab_size"] > VOCABULARY_2)
        settings.setdefault("max_position_embeddings", settings.get("model_max_length", 4096))


class NormHead(nn.Linear):
    """A head whose rows have length one whatever the weight's; the weight is stored, and trained, as it is."""

    @property
    def effective_weight(self) -> Tensor:
        return F.normalize(self.weight)

    def forward(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.effective_weight)


class NoRotation(nn.Module):
    """In place of rotary embeddings: turns nothing."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim

    def forward(self, hidden: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        shape = (*position_ids.shape, self.head_dim)
        return hidden.new_ones(shape), hidden.new_zeros(shape)


def alibi_slopes(heads: int) -> list[float]:
    """One slope a head: 2^(-8i/n) for i = 1..n where n is a power of two, else those of the next lower power of two
    and then every other one of the next higher."""
    power = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * i / power) for i in range(1, power + 1)]
    between = [2 ** (-4 * i / power) for i in range(1, 2 * power + 1, 2)]
    return slopes + between[: heads - power]


def alibi_mask(allowed: Tensor, heads: int, past: int, dtype: torch.dtype) -> Tensor:
    """The mask to add to attention scores, (batch, heads, queries, keys), of `dtype`.

    `allowed` (batch, 1, queries, keys) is a mask of transformers: bool, or float with 0 where attention is allowed;
    the first query stands at key `past`. The bias is slope * (j - i). The vendor adds slope * j instead, which softmax
    cannot distinguish, but which in bfloat16 leaves no bits for the difference of neighbours far from the start.
    """
    queries, keys = allowed.shape[-2:]
    device = allowed.device
    distance = torch.arange(keys, device=device) - torch.arange(past, past + queries, device=device)[:, None]
    bias = torch.tensor(alibi_slopes(heads), device=device)[:, None, None] * distance
    if allowed.dtype != torch.bool:
        allowed = allowed == 0
    return torch.where(allowed, bias.to(dtype), torch.finfo(dtype).min)


class BaichuanModel(StoresFrequencies, LlamaModel):
    config_class = BaichuanConfig

    def __init__(self, config: BaichuanConfig) -> None:
        super().__init__(config)
        if config.alibi:
            self.rotary_emb = NoRotation(config.head_dim)
        elif not config.norm_head:  # Baichuan-7B's layout has them in every layer, Baichuan2-7B's does not
            for layer in self.layers:
                layer.self_attn.rotary_emb = StoredFrequencies(config.head_dim)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        **options: Any,
    ) -> BaseModelOutputWithPast:
        if self.config.alibi:
            if inputs_embeds is None:
                inputs_embeds, input_ids = self.embed_tokens(input_ids), None
            allowed = create_causal_mask(
                self.config, inputs_embeds, attention_mask, past_key_values, position_ids, allow_is_causal_skip=False
            )
            past = past_key_values.get_seq_length() if past_key_values is not None else 0
            attention_mask = alibi_mask(allowed, self.config.num_attention_heads, past, inputs_embeds.dtype)
        return super().forward(input_ids, attention_mask, position_ids, past_key_values, inputs_embeds, **options)


class BaichuanForCausalLM(LegacyModel, LlamaForCausalLM):
    config_class = BaichuanConfig
    native = LlamaForCausalLM
    weight_map: ClassVar[list[Any]] = [fused_qkv(".self_attn.W_pack.")]

    def __init__(self, config: BaichuanConfig) -> None:
        if config.alibi and attention_of(config) not in (None, "sdpa", "eager"):
            raise ModelError(
                f"ALiBi does not work with this attention: got `{attention_of(config)}`", "use sdpa or eager"
            )
        super().__init__(config)
        self.model = BaichuanModel(config)
        if config.norm_head:
            self.lm_head = NormHead(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def native_settings(self) -> dict[str, Any]:
        if self.config.alibi:
            raise ModelError("ALiBi has no native layout: got Baichuan-13B", "keep the vendor's")
        return super().native_settings()

    def native_state_dict(self) -> dict[str, Tensor]:
        """A plain head with the normalised weight gives the same logits."""
        state = super().native_state_dict()
        if self.config.norm_head:
            state["lm_head.weight"] = self.lm_head.effective_weight.detach()
        return state
