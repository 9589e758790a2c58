"""What the layers of an architecture have, as far as the number of parameters shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Traits:
    """In what an architecture differs from Llama's. Groups of modules are qkv, o and mlp."""

    attention: Literal["split", "fused", "multi_query", "latent"] = "split"
    """How q, k and v are made: by a module each, by one, by one with one head of k and v, or from a compressed form."""
    mlp: Literal["gated", "fused", "plain"] = "gated"
    """Whether a gate goes beside the way up, as a module of its own or in one with it, or there is none."""
    bias: tuple[str, ...] = ()
    """Groups that always have a bias."""
    attention_bias: tuple[str, ...] = ("qkv", "o")
    """Groups to which `attention_bias` in the config gives one."""
    norms: int = 2
    """A layer's norms over the hidden size."""
    norm_vectors: int = 1
    """Vectors of a norm: 2 where it has a bias."""
    qk_norm: bool = False
    """Whether q and k are normalised, each over a head."""
    positions: bool = False
    """Whether positions are learned."""
    experts: str = ""
    """Key of the number of routed experts; "" where every layer is dense."""
    expert_size: str = "moe_intermediate_size"
    """Key of an expert's inner size."""
    expert_modules: bool = False
    """Whether experts are modules with linear layers; else one parameter holds those of a layer."""
    shared_gate: bool = False
    """Whether a gate weighs the shared expert."""


TRAITS = {
    "baichuan": Traits(),
    "chatglm": Traits(mlp="fused", attention_bias=("qkv",)),
    "cohere": Traits(norms=1),
    "deepseek": Traits(experts="n_routed_experts", expert_modules=True),
    "deepseek_v2": Traits(attention="latent", experts="n_routed_experts"),
    "gemma": Traits(),
    "gemma2": Traits(norms=4),
    "gemma3_text": Traits(norms=4, qk_norm=True),
    "glm": Traits(mlp="fused", attention_bias=("qkv",)),
    "glm4": Traits(mlp="fused", attention_bias=("qkv",), norms=4),
    "gpt_bigcode": Traits(
        attention="multi_query", mlp="plain", bias=("qkv", "o", "mlp"), norm_vectors=2, positions=True
    ),
    "internlm": Traits(),
    "internlm2": Traits(),
    "internlm3": Traits(),
    "llama": Traits(),
    "minicpm": Traits(),
    "minicpm3": Traits(attention="latent"),
    "mistral": Traits(),
    "mixtral": Traits(experts="num_local_experts", expert_size="intermediate_size"),
    "phi3": Traits(attention="fused", mlp="fused"),
    "qwen": Traits(bias=("qkv",)),
    "qwen2": Traits(bias=("qkv",)),
    "qwen2_moe": Traits(bias=("qkv",), experts="num_experts", shared_gate=True),
    "qwen3": Traits(qk_norm=True),
    "qwen3_moe": Traits(qk_norm=True, experts="num_experts"),
    "smollm3": Traits(),
    "starcoder2": Traits(mlp="plain", bias=("qkv", "o", "mlp"), norm_vectors=2),
}
