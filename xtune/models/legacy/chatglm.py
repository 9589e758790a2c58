"""ChatGLM2, ChatGLM3 and GLM-4-9B in the layout of their own code: GLM of transformers under other names."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import GlmConfig, GlmForCausalLM, GlmModel

from xtune.errors import ModelError
from xtune.models.legacy.config import VendorConfig
from xtune.models.legacy.family import LegacyModel, StoredFrequencies, StoresFrequencies
from xtune.models.legacy.weights import fused_qkv, renamed

FIRST_RELEASE = ("position_encoding_2d", "inner_hidden_size")
"""Settings that only ChatGLM-6B's config has; its model_type is the same, the model is another."""


class ChatGLMConfig(VendorConfig, GlmConfig):
    """`rope_ratio` stretches the context in one of two ways that config.json does not distinguish.

    ChatGLM2-6B-32K divides positions by it ("linear"); ChatGLM3-6B-32K and GLM-4-9B multiply the rotary base ("base").
    `rope_ratio_kind`, where it is given, decides; else the release does, by the transformers version in config.json.
    """

    model_type = "chatglm"
    names: ClassVar[dict[str, str]] = {
        "num_layers": "num_hidden_layers",
        "padded_vocab_size": "vocab_size",
        "ffn_hidden_size": "intermediate_size",
        "layernorm_epsilon": "rms_norm_eps",
        "multi_query_group_num": "num_key_value_heads",
        "kv_channels": "head_dim",
        "seq_length": "max_position_embeddings",
        "add_qkv_bias": "attention_bias",
    }
    required: ClassVar[dict[str, Any]] = {
        "rmsnorm": True,
        "post_layer_norm": True,
        "add_bias_linear": False,
        "apply_residual_connection_post_layernorm": False,
    }
    pad_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2

    @classmethod
    def translate(cls, settings: dict[str, Any]) -> None:
        if any(name in settings for name in FIRST_RELEASE):
            raise ModelError("ChatGLM-6B's first release is not supported: got its config", "use ChatGLM2 or ChatGLM3")
        if not settings.get("multi_query_attention", True):
            settings["num_key_value_heads"] = settings["num_attention_heads"]
        settings.setdefault("vocab_size", 65024)
        ratio = settings.get("rope_ratio") or 1
        kind = settings.get("rope_ratio_kind") or ("linear" if before_4_30(settings) else "base")
        settings["rope_theta"] = 10000.0 * (ratio if kind == "base" else 1)
        if kind == "linear" and ratio != 1:
            settings["rope_scaling"] = {"rope_type": "linear", "factor": float(ratio)}
        if settings.get("pad_token_id") is None:
            settings["pad_token_id"] = 0


def before_4_30(settings: dict[str, Any]) -> bool:
    """Whether config.json was written by a transformers older than 4.30, as those of ChatGLM2 were."""
    version = str(settings.get("transformers_version") or "4.30").split(".")
    return [int(part) for part in version[:2]] < [4, 30]


class ChatGLMModel(StoresFrequencies, GlmModel):
    config_class = ChatGLMConfig

    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__(config)
        self.rotary_pos_emb = StoredFrequencies(config.head_dim // 2)


class ChatGLMForConditionalGeneration(LegacyModel, GlmForCausalLM):
    config_class = ChatGLMConfig
    native = GlmForCausalLM
    weight_map: ClassVar[list[Any]] = [
        *renamed(
            {
                "^transformer.embedding.word_embeddings.": "^model.embed_tokens.",
                "^transformer.output_layer.": "^lm_head.",
                "^transformer.encoder.final_layernorm.": "^model.norm.",
                "^transformer.encoder.layers.": "^model.layers.",
                "^transformer.rotary_pos_emb.": "^model.rotary_pos_emb.",
                ".self_attention.dense.": ".self_attn.o_proj.",
                ".mlp.dense_h_to_4h.": ".mlp.gate_up_proj.",
                ".mlp.dense_4h_to_h.": ".mlp.down_proj.",
            }
        ),
        fused_qkv(".self_attention.query_key_value."),
    ]

    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__(config)
        self.model = ChatGLMModel(config)
        self.post_init()
