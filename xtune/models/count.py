"""How many parameters a model has, and where, from the sizes in its config alone.

TRAITS says in what an architecture of transformers differs from Llama's; `matrices` lists what its layers hold. A test
compares the sums with models built on torch's meta device. Architectures beyond the table are counted on such a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xtune.models.skeleton import counted, share_of_experts
from xtune.models.traits import TRAITS, Traits

Sizes = Mapping[str, Any]


@dataclass(frozen=True)
class Matrix:
    """A weight of `inputs` x `outputs`, in `copies`: one a layer, or one an expert of a layer.

    `used` of the copies take part in computing one token. `linear` is False for what is not a module of class
    nn.Linear, such as the experts, which one parameter holds: quantization passes it by.
    """

    name: str
    inputs: int
    outputs: int
    copies: int
    used: int
    bias: bool = False
    linear: bool = True

    @property
    def parameters(self) -> int:
        return self.copies * (self.inputs * self.outputs + self.bias * self.outputs)


def parameters(config: Sizes) -> int:
    """Number of parameters, tied embeddings counted once. Raises ConfigError for a class that nobody has."""
    if config["model_type"] not in TRAITS:
        return counted(config).parameters
    return sum(matrix.parameters for matrix in matrices(config)) + embeddings(config) + _vectors(config)


def used_parameters(config: Sizes) -> int:
    """Weights that take part in computing one token: no embedding, the head, of the experts those that are chosen."""
    layers = sum(m.used * m.inputs * m.outputs for m in matrices(config))
    return layers + config["vocab_size"] * config["hidden_size"]


def embeddings(config: Sizes) -> int:
    """Parameters of the embeddings and the head."""
    tables = 1 if config["tie_word_embeddings"] else 2
    positions = config["max_position_embeddings"] if TRAITS[config["model_type"]].positions else 0
    return (tables * config["vocab_size"] + positions) * config["hidden_size"]


def matrices(config: Sizes) -> list[Matrix]:
    """Every matrix of the decoder's layers. Raises ConfigError for a class that nobody has."""
    if config["model_type"] not in TRAITS:
        return list(_of_class(config))
    traits = TRAITS[config["model_type"]]
    attention = _latent(config) if traits.attention == "latent" else _attention(config, traits)
    return [*attention, *_mlps(config, traits)]


def _of_class(config: Sizes) -> Iterator[Matrix]:
    chosen = share_of_experts(config)
    for layer, copies in counted(config).layers.items():
        used = copies if layer.linear else round(copies * chosen)
        yield Matrix(layer.name, layer.inputs, layer.outputs, copies, used, linear=layer.linear)


def head_dim(config: Sizes) -> int:
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def _vectors(config: Sizes) -> int:
    """Parameters of all norms."""
    traits = TRAITS[config["model_type"]]
    layer = traits.norms * traits.norm_vectors * config["hidden_size"]
    if traits.qk_norm:
        layer += 2 * head_dim(config)
    if traits.attention == "latent":
        layer += config["kv_lora_rank"] + (config["q_lora_rank"] or 0)
    return config["num_hidden_layers"] * layer + traits.norm_vectors * config["hidden_size"]


def _attention(config: Sizes, traits: Traits) -> Iterator[Matrix]:
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    biased = traits.bias + (traits.attention_bias if config.get("attention_bias") else ())
    q, kv = heads * head_dim(config), kv_heads * head_dim(config)
    made = {
        "split": {"q_proj": q, "k_proj": kv, "v_proj": kv},
        "fused": {"qkv_proj": q + 2 * kv},
        "multi_query": {"c_attn": q + 2 * kv},
    }[traits.attention]
    for name, outputs in made.items():
        yield Matrix(name, hidden, outputs, layers, layers, "qkv" in biased)
    yield Matrix("c_proj" if "c_attn" in made else "o_proj", q, hidden, layers, layers, "o" in biased)


def _latent(config: Sizes) -> Iterator[Matrix]:
    """Multi-head latent attention (arXiv:2405.04434): k and v, and in larger models q, come from a compressed form."""
    hidden, layers, heads = config["hidden_size"], config["num_hidden_layers"], config["num_attention_heads"]
    plain, rotary, value = config["qk_nope_head_dim"], config["qk_rope_head_dim"], config["v_head_dim"]
    q_rank, kv_rank = config["q_lora_rank"], config["kv_lora_rank"]
    shapes = {
        "kv_a_proj_with_mqa": (hidden, kv_rank + rotary),
        "kv_b_proj": (kv_rank, heads * (plain + value)),
        "o_proj": (heads * value, hidden),
    }
    if q_rank:
        shapes |= {"q_a_proj": (hidden, q_rank), "q_b_proj": (q_rank, heads * (plain + rotary))}
    else:
        shapes |= {"q_proj": (hidden, heads * (plain + rotary))}
    for name, (inputs, outputs) in shapes.items():
        yield Matrix(name, inputs, outputs, layers, layers)


def _mlps(config: Sizes, traits: Traits) -> Iterator[Matrix]:
    """The dense layers' MLPs; in the others the experts, the shared expert and what routes to them."""
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    bias = "mlp" in traits.bias
    dense = config.get("first_k_dense_replace", 0) if traits.experts else layers
    yield from _mlp(hidden, config["intermediate_size"], dense, dense, traits.mlp, bias)
    if not traits.experts:
        return
    routed = layers - dense
    experts, chosen = config[traits.experts], config["num_experts_per_tok"]
    size = config[traits.expert_size]
    if traits.expert_modules:
        yield from _mlp(hidden, size, routed * experts, routed * chosen, traits.mlp, bias)
    else:
        yield Matrix("experts.gate_up_proj", hidden, 2 * size, routed * experts, routed * chosen, linear=False)
        yield Matrix("experts.down_proj", size, hidden, routed * experts, routed * chosen, linear=False)
    yield Matrix("gate", hidden, experts, routed, routed, linear=False)
    shared = config.get("shared_expert_intermediate_size", config.get("n_shared_experts", 0) * size)
    yield from _mlp(hidden, shared, routed, routed, traits.mlp, bias)
    if traits.shared_gate:
        yield Matrix("shared_expert_gate", hidden, 1, routed, routed)


def _mlp(hidden: int, inner: int, copies: int, used: int, kind: str, bias: bool) -> Iterator[Matrix]:
    if not inner or not copies:
        return
    up = {
        "gated": {"gate_proj": inner, "up_proj": inner},
        "fused": {"gate_up_proj": 2 * inner},
        "plain": {"c_fc": inner},
    }
    for name, outputs in up[kind].items():
        yield Matrix(name, hidden, outputs, copies, used, bias)
    yield Matrix("c_proj" if kind == "plain" else "down_proj", inner, hidden, copies, used, bias)
