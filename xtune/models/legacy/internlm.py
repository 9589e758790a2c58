"""InternLM and InternLM2 (2.5 too): Llama, under other names.

InternLM has biases, InternLM2 grouped and fused q, k, v. Technical report: arXiv:2403.17297.
"""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import LlamaConfig, LlamaForCausalLM

from xtune.models.legacy.config import VendorConfig
from xtune.models.legacy.family import LegacyModel
from xtune.models.legacy.weights import fused_qkv, renamed


class InternLMConfig(VendorConfig, LlamaConfig):
    model_type = "internlm"
    names: ClassVar[dict[str, str]] = {"bias": "attention_bias"}
    attention_bias: bool = True

    @classmethod
    def translate(cls, settings: dict[str, Any]) -> None:
        """`rotary` is what InternEvo exports and chat-7b-v1.1 have for the later rope_theta and rope_scaling."""
        rotary = settings.pop("rotary", None) or {}
        if "base" in rotary:
            settings["rope_theta"] = float(rotary["base"])
        if rotary.get("type") == "dynamic":
            settings["rope_scaling"] = {"rope_type": "dynamic", "factor": rotary.get("scaling_factor", 1.0)}


class InternLM2Config(VendorConfig, LlamaConfig):
    model_type = "internlm2"
    names: ClassVar[dict[str, str]] = {"bias": "attention_bias"}


class InternLMForCausalLM(LegacyModel, LlamaForCausalLM):
    config_class = InternLMConfig
    native = LlamaForCausalLM


class InternLM2ForCausalLM(LegacyModel, LlamaForCausalLM):
    config_class = InternLM2Config
    native = LlamaForCausalLM
    weight_map: ClassVar[list[Any]] = [
        *renamed(
            {
                "^model.tok_embeddings.": "^model.embed_tokens.",
                "^output.": "^lm_head.",
                ".attention_norm.": ".input_layernorm.",
                ".ffn_norm.": ".post_attention_layernorm.",
                ".attention.wo.": ".self_attn.o_proj.",
                ".feed_forward.w1.": ".mlp.gate_proj.",
                ".feed_forward.w3.": ".mlp.up_proj.",
                ".feed_forward.w2.": ".mlp.down_proj.",
            }
        ),
        fused_qkv(".attention.wqkv.", grouped=True),
    ]
