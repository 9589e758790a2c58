"""How many parameters a model has, from the sizes in its config alone.

The classes of transformers are laid out by two tables: TRAITS says in what an architecture differs from Llama's, and
the functions below read the sizes. A test compares the sums with models built on torch's meta device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Sizes = Mapping[str, Any]


@dataclass(frozen=True)
class Traits:
    """In what an architecture differs from Llama's."""

    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    gated: bool = True
    """Whether the MLP has a gate beside its way up."""
    fused: bool = False
    """Whether q, k, v are one module, and so are gate and up."""
    norms: int = 2
    """Vectors of the hidden size that a layer's norms hold."""
    final_norms: int = 1
    qk_norm: bool = False
    positions: bool = False
    """Whether positions are learnt embeddings."""


TRAITS = {
    "llama": Traits(),
    "smollm3": Traits(),
}


def parameters(config: Sizes) -> int:
    """Number of parameters, tied embeddings counted once."""
    traits = TRAITS[config["model_type"]]
    hidden = config["hidden_size"]
    head = 0 if config["tie_word_embeddings"] else 1
    embeddings = (1 + head) * config["vocab_size"] * hidden
    head_dim = config.get("head_dim") or hidden // config["num_attention_heads"]
    q = config["num_attention_heads"] * head_dim
    kv = config["num_key_value_heads"] * head_dim
    bias = config.get("attention_bias", False)
    attention = hidden * (q + 2 * kv) + q * hidden + bias * (q + 2 * kv + hidden)
    mlp = 3 * hidden * config["intermediate_size"]
    layer = attention + mlp + traits.norms * hidden
    return embeddings + config["num_hidden_layers"] * layer + traits.final_norms * hidden
