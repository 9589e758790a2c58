"""Qwen-1: Qwen2 under other names, with two ways to read beyond the length it was trained on (arXiv:2309.16609, 2.3).

Both act in eval mode only, and only past `seq_length`; training is plain RoPE. The rotary base grows with a sample's
length ("dynamic NTK", in steps), fixed when its prompt is read; and the queries grow with the logarithm of their
position ("LogN"). Positions count from a sample's own start, so padding and packing change nothing.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, Qwen2Config, Qwen2ForCausalLM
from transformers import Qwen2Model as NativeModel
from transformers.cache_utils import Cache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding, eager_attention_forward

from xtune.compat.transformers import attention_of, set_attention
from xtune.errors import ModelError
from xtune.models.legacy.config import VendorConfig
from xtune.models.legacy.family import LegacyModel
from xtune.models.legacy.weights import fused_qkv, renamed


class QWenConfig(VendorConfig, Qwen2Config):
    model_type = "qwen"
    names: ClassVar[dict[str, str]] = {
        "n_embd": "hidden_size",  # n_* and *_pdrop are the spelling of August 2023
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
        "n_positions": "max_position_embeddings",
        "attn_pdrop": "attention_dropout",
        "ffn_hidden_size": "intermediate_size",
        "attn_dropout_prob": "attention_dropout",
        "layer_norm_epsilon": "rms_norm_eps",
        "kv_channels": "head_dim",
    }
    required: ClassVar[dict[str, Any]] = {"no_bias": True, "rotary_pct": 1.0, "scale_attn_weights": True}
    head_dim: int = 128
    seq_length: int = 8192
    use_dynamic_ntk: bool = True
    use_logn_attn: bool = True

    @classmethod
    def translate(cls, settings: dict[str, Any]) -> None:
        settings["intermediate_size"] //= 2  # the vendor counts gate and up together
        settings["num_key_value_heads"] = settings["num_attention_heads"]
        settings["rope_theta"] = float(settings.get("rotary_emb_base", 10000))


def sample_lengths(position_ids: Tensor) -> Tensor:
    """For every position, one more than the last position of its sample; samples begin where positions restart at 0."""
    samples = (position_ids == 0).cumsum(1)
    last = position_ids.new_zeros(len(samples), int(samples.max()) + 1)
    return last.scatter_reduce(1, samples, position_ids, "amax").gather(1, samples) + 1


def ntk_alpha(lengths: Tensor, trained: int) -> Tensor:
    """How much larger the rotary base is for samples of `lengths`: 2^ceil(log2(length / trained) + 1) - 1, or 1."""
    return (2 ** (torch.log2(lengths / trained) + 1).ceil() - 1).clamp(min=1)


class DynamicRotaryEmbedding(Qwen2RotaryEmbedding):
    """Rotary embeddings with a base of their own for every position's sample; `alpha` is set before each forward.

    transformers knows by "RotaryEmbedding" in its name that the frequencies are to be made anew at loading.
    """

    alpha: Tensor | None = None

    @torch.no_grad()
    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        if self.alpha is None:
            return super().forward(x, position_ids)
        dim = self.config.head_dim
        base = self.config.rope_parameters["rope_theta"] * self.alpha.double() ** (dim / (dim - 2))
        powers = torch.arange(0, dim, 2, device=x.device) / dim
        frequencies = 1.0 / base[..., None].float() ** powers
        angles = position_ids[..., None].float() * frequencies
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


def logn(attend: Any) -> Any:
    """An attention function that first multiplies each query past the trained length by log(position) / log(length)."""

    def attend_logn(module: nn.Module, query: Tensor, *args: Any, position_ids: Tensor, **options: Any) -> Any:
        trained = module.config.seq_length
        if not module.training:
            growth = (position_ids + 1).clamp(min=trained).log() / math.log(trained)
            query = query * growth[:, None, :, None].to(query.dtype)
        return attend(module, query, *args, **options)

    return attend_logn


LOGN = {"sdpa": "logn_sdpa", "eager": "logn_eager"}
"""Attention implementations of transformers and the names of those with LogN."""


class QWenModel(NativeModel):
    config_class = QWenConfig

    def __init__(self, config: QWenConfig) -> None:
        super().__init__(config)
        if config.use_dynamic_ntk:
            self.rotary_emb = DynamicRotaryEmbedding(config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **options: Any,
    ) -> BaseModelOutputWithPast:
        given: Tensor = input_ids if inputs_embeds is None else inputs_embeds  # type: ignore[assignment]
        if use_cache is None:
            use_cache = self.config.use_cache
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        if position_ids is None:
            position_ids = positions(attention_mask, given, past)
        beyond = not self.training and past + given.shape[1] > self.config.seq_length
        if beyond and self.config.use_logn_attn and attention_of(self.config) not in LOGN.values():
            raise ModelError(
                f"LogN attention past {self.config.seq_length} tokens does not work with this attention: got "
                f"`{attention_of(self.config)}`",
                "use sdpa or eager",
            )
        if self.config.use_dynamic_ntk:
            self.rotary_emb.alpha = self._alpha(position_ids, past_key_values, past) if beyond else None
        return super().forward(
            input_ids, attention_mask, position_ids, past_key_values, inputs_embeds, use_cache=use_cache, **options
        )

    def _alpha(self, position_ids: Tensor, cache: Cache | None, past: int) -> Tensor | None:
        """NTK alpha of each position, None for 1. It is fixed by the prompt's length and stays with its cache."""
        if past:
            return getattr(cache, "ntk_alpha", None)
        alpha = ntk_alpha(sample_lengths(position_ids), self.config.seq_length)
        if cache is not None:
            cache.ntk_alpha = alpha.amax(1, keepdim=True)
        return alpha


def positions(attention_mask: Tensor | None, given: Tensor, past: int) -> Tensor:
    """Positions (batch or 1, length) that count from each row's first real token; `past` of them are in the cache."""
    if attention_mask is not None and attention_mask.ndim == 2:
        return (attention_mask.long().cumsum(1) - 1).clamp(min=0)[:, -given.shape[1] :]
    return torch.arange(past, past + given.shape[1], device=given.device)[None]


class QWenLMHeadModel(LegacyModel, Qwen2ForCausalLM):
    config_class = QWenConfig
    native = Qwen2ForCausalLM
    weight_map: ClassVar[list[Any]] = [
        *renamed(
            {
                "^transformer.wte.": "^model.embed_tokens.",
                "^transformer.ln_f.": "^model.norm.",
                "^transformer.h.": "^model.layers.",
                ".ln_1.": ".input_layernorm.",
                ".ln_2.": ".post_attention_layernorm.",
                ".attn.c_proj.": ".self_attn.o_proj.",
                ".mlp.w2.": ".mlp.gate_proj.",
                ".mlp.w1.": ".mlp.up_proj.",
                ".mlp.c_proj.": ".mlp.down_proj.",
            }
        ),
        fused_qkv(".attn.c_attn."),
    ]

    def __init__(self, config: QWenConfig) -> None:
        AttentionInterface.register(LOGN["sdpa"], logn(sdpa_attention_forward))
        AttentionInterface.register(LOGN["eager"], logn(eager_attention_forward))
        AttentionMaskInterface.register(LOGN["sdpa"], sdpa_mask)
        AttentionMaskInterface.register(LOGN["eager"], eager_mask)
        super().__init__(config)
        self.loss_type = "ForCausalLM"  # transformers reads it from the class's name, which is the vendor's
        self.model = QWenModel(config)
        if config.use_logn_attn:
            attention = attention_of(config)
            set_attention(config, LOGN.get(attention, attention))
        self.post_init()

    def native_settings(self) -> dict[str, Any]:
        """Qwen2 reads no further than Qwen-1 was trained: it has neither the dynamic rotary base nor LogN."""
        settings = super().native_settings()
        settings["max_position_embeddings"] = min(settings["max_position_embeddings"], self.config.seq_length)
        return {**settings, "head_dim": self.config.head_dim}
