"""How many parameters a model has, and where, from the sizes in its config alone.

TRAITS says in what an architecture of transformers differs from Llama's; `matrices` lists what its layers hold. A test
compares the sums with models built on torch's meta device. Architectures beyond the table are counted on such a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from xtune.models.skeleton import counted, share_of_experts

Sizes = Mapping[str, Any]


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
    """Whether positions are learnt."""
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
