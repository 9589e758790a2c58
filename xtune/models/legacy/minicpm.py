"""MiniCPM: Llama with the scalings of muP (arXiv:2404.06395, section 3), which transformers has as Granite.

Embeddings are multiplied by `scale_emb`, what a layer adds by `scale_depth / sqrt(layers)`, and the hidden states that
the head reads are divided by `hidden_size / dim_model_base`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import GraniteConfig, GraniteForCausalLM

from xtune.models.legacy.config import VendorConfig
from xtune.models.legacy.family import LegacyModel


class MiniCPMConfig(VendorConfig, GraniteConfig):
    model_type = "minicpm"
    required: ClassVar[dict[str, Any]] = {"num_experts": 0, "sparse_config": None}

    @classmethod
    def translate(cls, settings: dict[str, Any]) -> None:
        hidden, layers = settings["hidden_size"], settings["num_hidden_layers"]
        settings["embedding_multiplier"] = settings.get("scale_emb", 1)
        settings["residual_multiplier"] = settings.get("scale_depth", 1) / layers**0.5
        settings["logits_scaling"] = hidden / settings.get("dim_model_base", 1)
        settings["attention_multiplier"] = (hidden // settings["num_attention_heads"]) ** -0.5


class MiniCPMForCausalLM(LegacyModel, GraniteForCausalLM):
    config_class = MiniCPMConfig
    native = GraniteForCausalLM
