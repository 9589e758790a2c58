"""Random checkpoints in the vendors' layouts, and what their formulas give, written from the papers for one sequence.

Nothing here is shared with xtune: tensors have the vendors' names, attention and rotation are written out.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file


def norm(x, weight, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def rotate(x, positions, base, interleaved=False):
    """RoPE (arXiv:2104.09864) of x (length, heads, dim): pairs are (i, i + dim/2), or neighbours."""
    dim = x.shape[-1]
    angle = positions[:, None].float() / base ** (torch.arange(0, dim, 2) / dim)
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    a, b = (x[..., ::2], x[..., 1::2]) if interleaved else x.chunk(2, -1)
    turned = (a * cos - b * sin, b * cos + a * sin)
    return torch.stack(turned, -1).flatten(-2) if interleaved else torch.cat(turned, -1)


def attend(q, k, v, bias=0.0):
    """Causal attention of q (length, heads, dim) to k, v (length, kv heads, dim)."""
    share = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)
    scores = torch.einsum("ihd,jhd->hij", q, k) / math.sqrt(q.shape[-1]) + bias
    scores = scores.masked_fill(torch.ones(len(q), len(q)).triu(1).bool(), -math.inf)
    return torch.einsum("hij,jhd->ihd", scores.softmax(-1), v).flatten(1)


def linear(w, name, x):
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def dynamic_base(base, length, trained, factor, dim):
    """Dynamic NTK as published: the base grows once the length exceeds the trained one."""
    if length <= trained:
        return base
    return base * (factor * length / trained - (factor - 1)) ** (dim / (dim - 2))


def internlm(c, w, ids):
    x, length, heads = w["model.embed_tokens.weight"][ids], len(ids), c["num_attention_heads"]
    dim, base = c["hidden_size"] // heads, 10000.0
    if c.get("rotary", {}).get("type") == "dynamic":
        base = dynamic_base(c["rotary"]["base"], length, c["max_position_embeddings"], 1.0, dim)
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        h = norm(x, w[p + "input_layernorm.weight"], c["rms_norm_eps"])
        q, k, v = (linear(w, f"{p}self_attn.{n}_proj", h).view(length, heads, dim) for n in "qkv")
        q, k = (rotate(t, torch.arange(length), base) for t in (q, k))
        x = x + linear(w, p + "self_attn.o_proj", attend(q, k, v))
        h = norm(x, w[p + "post_attention_layernorm.weight"], c["rms_norm_eps"])
        gate = F.silu(linear(w, p + "mlp.gate_proj", h))
        x = x + linear(w, p + "mlp.down_proj", gate * linear(w, p + "mlp.up_proj", h))
    return linear(w, "lm_head", norm(x, w["model.norm.weight"], c["rms_norm_eps"]))


def internlm2(c, w, ids):
    x, length = w["model.tok_embeddings.weight"][ids], len(ids)
    heads, kv = c["num_attention_heads"], c["num_key_value_heads"]
    dim, base, positions = c["hidden_size"] // heads, c["rope_theta"], torch.arange(length).float()
    scaling = c.get("rope_scaling") or {}
    if scaling.get("type") == "dynamic":
        base = dynamic_base(base, length, c["max_position_embeddings"], scaling["factor"], dim)
    if scaling.get("type") == "linear":
        positions = positions / scaling["factor"]
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        h = norm(x, w[p + "attention_norm.weight"], c["rms_norm_eps"])
        groups = linear(w, p + "attention.wqkv", h).view(length, kv, heads // kv + 2, dim)
        q, k, v = groups[:, :, :-2].flatten(1, 2), groups[:, :, -2], groups[:, :, -1]
        q, k = (rotate(t, positions, base) for t in (q, k))
        x = x + linear(w, p + "attention.wo", attend(q, k, v))
        h = norm(x, w[p + "ffn_norm.weight"], c["rms_norm_eps"])
        ffn = p + "feed_forward."
        x = x + linear(w, ffn + "w2", F.silu(linear(w, ffn + "w1", h)) * linear(w, ffn + "w3", h))
    return linear(w, "output", norm(x, w["model.norm.weight"], c["rms_norm_eps"]))


def qwen(c, w, ids):
    x, length, eps = w["transformer.wte.weight"][ids], len(ids), c["layer_norm_epsilon"]
    heads, dim, trained = c["num_attention_heads"], c["kv_channels"], c["seq_length"]
    alpha = max(2 ** math.ceil(math.log2(length / trained) + 1) - 1, 1) if c["use_dynamic_ntk"] else 1
    base = c["rotary_emb_base"] * alpha ** (dim / (dim - 2))
    grow = [max(1.0, math.log(i, trained)) if c["use_logn_attn"] else 1.0 for i in range(1, length + 1)]
    for i in range(c["num_hidden_layers"]):
        p = f"transformer.h.{i}."
        h = norm(x, w[p + "ln_1.weight"], eps)
        q, k, v = (t.reshape(length, heads, dim) for t in linear(w, p + "attn.c_attn", h).chunk(3, -1))
        q, k = (rotate(t, torch.arange(length), base) for t in (q, k))
        x = x + linear(w, p + "attn.c_proj", attend(q * torch.tensor(grow)[:, None, None], k, v))
        h = norm(x, w[p + "ln_2.weight"], eps)
        x = x + linear(w, p + "mlp.c_proj", linear(w, p + "mlp.w1", h) * F.silu(linear(w, p + "mlp.w2", h)))
    return linear(w, "lm_head", norm(x, w["transformer.ln_f.weight"], eps))


def chatglm(c, w, ids):
    x, length, eps = w["transformer.embedding.word_embeddings.weight"][ids], len(ids), c["layernorm_epsilon"]
    heads, kv, dim = c["num_attention_heads"], c["multi_query_group_num"], c["kv_channels"]
    ratio, linear_kind = c.get("rope_ratio", 1), c.get("rope_ratio_kind") == "linear"
    positions = torch.arange(length) / (ratio if linear_kind else 1)
    base = 10000.0 * (1 if linear_kind else ratio)
    for i in range(c["num_layers"]):
        p = f"transformer.encoder.layers.{i}."
        h = norm(x, w[p + "input_layernorm.weight"], eps)
        fused = linear(w, p + "self_attention.query_key_value", h).view(length, -1, dim)
        q, k, v = fused.split([heads, kv, kv], 1)
        half = dim // 2  # half of each head is rotated
        q, k = (torch.cat((rotate(t[..., :half], positions, base, True), t[..., half:]), -1) for t in (q, k))
        x = x + linear(w, p + "self_attention.dense", attend(q, k, v))
        h = norm(x, w[p + "post_attention_layernorm.weight"], eps)
        gate, up = linear(w, p + "mlp.dense_h_to_4h", h).chunk(2, -1)
        x = x + linear(w, p + "mlp.dense_4h_to_h", F.silu(gate) * up)
    return linear(w, "transformer.output_layer", norm(x, w["transformer.encoder.final_layernorm.weight"], eps))


def slope(head, heads):
    """ALiBi (arXiv:2108.12409) as its authors define it for any number of heads."""
    below = 2 ** int(math.log2(heads))
    return 2 ** (-8 * (head + 1) / below) if head < below else 2 ** (-4 * (2 * (head - below) + 1) / below)


def baichuan(c, w, ids):
    x, length, heads = w["model.embed_tokens.weight"][ids], len(ids), c["num_attention_heads"]
    dim, alibi = c["hidden_size"] // heads, "max_position_embeddings" not in c
    keys = torch.arange(length).float()
    bias = torch.stack([slope(h, heads) * keys for h in range(heads)])[:, None] if alibi else 0.0
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        h = norm(x, w[p + "input_layernorm.weight"], c["rms_norm_eps"])
        q, k, v = (t.reshape(length, heads, dim) for t in linear(w, p + "self_attn.W_pack", h).chunk(3, -1))
        if not alibi:
            q, k = (rotate(t, torch.arange(length), 10000.0) for t in (q, k))
        x = x + linear(w, p + "self_attn.o_proj", attend(q, k, v, bias))
        h = norm(x, w[p + "post_attention_layernorm.weight"], c["rms_norm_eps"])
        gate = F.silu(linear(w, p + "mlp.gate_proj", h))
        x = x + linear(w, p + "mlp.down_proj", gate * linear(w, p + "mlp.up_proj", h))
    x, head = norm(x, w["model.norm.weight"], c["rms_norm_eps"]), w["lm_head.weight"]
    return x @ (head / head.norm(dim=1, keepdim=True) if c.get("norm_head") else head).T


def llama_layer(c, w, p, x, mlp, scale=1.0):
    """One Llama layer; what it adds is multiplied by `scale`."""
    length, heads = len(x), c["num_attention_heads"]
    h = norm(x, w[p + "input_layernorm.weight"], c["rms_norm_eps"])
    q, k, v = (linear(w, f"{p}self_attn.{n}_proj", h).view(length, heads, -1) for n in "qkv")
    q, k = (rotate(t, torch.arange(length), 10000.0) for t in (q, k))
    x = x + linear(w, p + "self_attn.o_proj", attend(q, k, v)) * scale
    return x + mlp(norm(x, w[p + "post_attention_layernorm.weight"], c["rms_norm_eps"])) * scale


def gated(w, name, h):
    return linear(w, f"{name}.down_proj", F.silu(linear(w, f"{name}.gate_proj", h)) * linear(w, f"{name}.up_proj", h))


def minicpm(c, w, ids):
    x, scale = (
        w["model.embed_tokens.weight"][ids] * c["scale_emb"],
        c["scale_depth"] / math.sqrt(c["num_hidden_layers"]),
    )
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        x = llama_layer(c, w, p, x, lambda h, p=p: gated(w, p + "mlp", h), scale)
    x = norm(x, w["model.norm.weight"], c["rms_norm_eps"])
    return x / (c["hidden_size"] / c["dim_model_base"]) @ w["lm_head.weight"].T


def deepseek(c, w, ids):
    def experts(p):
        def mix(h):
            scores = (h @ w[p + "gate.weight"].T).softmax(-1)
            kept = scores >= scores.sort(-1).values[:, -c["num_experts_per_tok"], None]
            every = [gated(w, f"{p}experts.{e}", h) * (scores * kept)[:, e, None] for e in range(c["n_routed_experts"])]
            return sum(every) + gated(w, p + "shared_experts", h)

        return mix

    x = w["model.embed_tokens.weight"][ids]
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        dense = i < c["first_k_dense_replace"]
        x = llama_layer(c, w, p, x, (lambda h, p=p: gated(w, p + "mlp", h)) if dense else experts(p + "mlp."))
    return norm(x, w["model.norm.weight"], c["rms_norm_eps"]) @ w["lm_head.weight"].T


LLAMA_MLP = {"mlp.gate_proj.weight": "ih", "mlp.up_proj.weight": "ih", "mlp.down_proj.weight": "hi"}
LLAMA_NORMS = {"input_layernorm.weight": "h", "post_attention_layernorm.weight": "h"}
LLAMA_ATTENTION = {f"self_attn.{n}_proj.weight": "hh" for n in "qkvo"}
LLAMA_REST = {"model.embed_tokens.weight": "vh", "model.norm.weight": "h", "lm_head.weight": "vh"}
EXPERTS = {"mlp.gate.weight": "eh"} | {
    f"mlp.{owner}.{name}_proj.weight": "hx" if name == "down" else "xh"
    for owner in [f"experts.{number}" for number in range(6)]
    for name in ("gate", "up", "down")
}
EXPERTS |= {
    f"mlp.shared_experts.{name}_proj.weight": "hs" if name == "down" else "sh" for name in ("gate", "up", "down")
}
LAYOUTS = {
    "minicpm": (minicpm, "model.layers.", LLAMA_ATTENTION | LLAMA_MLP | LLAMA_NORMS, LLAMA_REST),
    "deepseek": (
        deepseek,
        "model.layers.",
        LLAMA_ATTENTION | EXPERTS | LLAMA_NORMS,
        LLAMA_REST | {f"model.layers.0.{name}": letters for name, letters in LLAMA_MLP.items()},
    ),
    "internlm": (
        internlm,
        "model.layers.",
        {f"self_attn.{n}_proj.{kind}": "hh" if kind == "weight" else "h" for n in "qkvo" for kind in ("weight", "bias")}
        | LLAMA_MLP
        | LLAMA_NORMS,
        {"model.embed_tokens.weight": "vh", "model.norm.weight": "h", "lm_head.weight": "vh"},
    ),
    "internlm2": (
        internlm2,
        "model.layers.",
        {
            "attention.wqkv.weight": "ph",
            "attention.wo.weight": "hh",
            "attention_norm.weight": "h",
            "ffn_norm.weight": "h",
        }
        | {"feed_forward.w1.weight": "ih", "feed_forward.w3.weight": "ih", "feed_forward.w2.weight": "hi"},
        {"model.tok_embeddings.weight": "vh", "model.norm.weight": "h", "output.weight": "vh"},
    ),
    "qwen": (
        qwen,
        "transformer.h.",
        {"attn.c_attn.weight": "ph", "attn.c_attn.bias": "p", "attn.c_proj.weight": "ha", "ln_1.weight": "h"}
        | {"ln_2.weight": "h", "mlp.w1.weight": "ih", "mlp.w2.weight": "ih", "mlp.c_proj.weight": "hi"},
        {"transformer.wte.weight": "vh", "transformer.ln_f.weight": "h", "lm_head.weight": "vh"},
    ),
    "chatglm": (
        chatglm,
        "transformer.encoder.layers.",
        {"self_attention.query_key_value.weight": "ph", "self_attention.query_key_value.bias": "p"}
        | {"self_attention.dense.weight": "ha", "mlp.dense_h_to_4h.weight": "jh", "mlp.dense_4h_to_h.weight": "hi"}
        | LLAMA_NORMS,
        {"transformer.embedding.word_embeddings.weight": "vh", "transformer.encoder.final_layernorm.weight": "h"}
        | {"transformer.output_layer.weight": "vh", "transformer.rotary_pos_emb.inv_freq": "r"},
    ),
    "baichuan": (
        baichuan,
        "model.layers.",
        {"self_attn.W_pack.weight": "ph", "self_attn.o_proj.weight": "hh"} | LLAMA_MLP | LLAMA_NORMS,
        {"model.embed_tokens.weight": "vh", "model.norm.weight": "h", "lm_head.weight": "vh"},
    ),
}
"""Family -> reference, prefix of layers, and the shapes of a layer's and the other tensors, a letter a dimension."""


def vendor_config(family, *, heads=4, kv=None, dim=16, inner=96, layers=2, vocabulary=211, trained=32, **extra):
    """A config.json as the vendor writes it."""
    hidden, kv = heads * dim, kv or heads
    shared = {"hidden_size": hidden, "num_attention_heads": heads, "vocab_size": vocabulary, "rms_norm_eps": 1e-6}
    shared |= {"num_hidden_layers": layers, "torch_dtype": "float32", "tie_word_embeddings": False}
    own = {
        "internlm": {"intermediate_size": inner, "bias": True, "max_position_embeddings": trained},
        "internlm2": {"intermediate_size": inner, "bias": False, "num_key_value_heads": kv, "rope_theta": 1e6}
        | {"max_position_embeddings": trained, "attn_implementation": "eager"},
        "qwen": {"intermediate_size": 2 * inner, "kv_channels": dim, "layer_norm_epsilon": 1e-6, "seq_length": trained}
        | {"use_dynamic_ntk": True, "use_logn_attn": True, "rotary_emb_base": 10000, "no_bias": True},
        "chatglm": {"ffn_hidden_size": inner, "kv_channels": dim, "multi_query_group_num": kv, "num_layers": layers}
        | {"layernorm_epsilon": 1e-5, "padded_vocab_size": vocabulary, "seq_length": trained, "add_qkv_bias": True},
        "baichuan": {"intermediate_size": inner},
        "minicpm": {"intermediate_size": inner, "scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 16},
        "deepseek": {"intermediate_size": inner, "n_routed_experts": 6, "n_shared_experts": 2, "num_experts_per_tok": 3}
        | {"moe_intermediate_size": 24, "first_k_dense_replace": 1, "moe_layer_freq": 1, "norm_topk_prob": False}
        | {"scoring_func": "softmax", "aux_loss_alpha": 0.001},
    }[family]
    code = {"auto_map": {"AutoModelForCausalLM": f"modeling_{family}.TheirClass"}, "architectures": ["TheirClass"]}
    return {**shared, **own, **code, "model_type": family, **extra}


def vendor_weights(family, config, seed=0):
    """Random tensors under the vendor's names. Small enough that logits are of order one."""
    _, prefix, layer, rest = LAYOUTS[family]
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    dim = config.get("kv_channels", hidden // heads)
    kv = config.get("num_key_value_heads") or config.get("multi_query_group_num") or heads
    inner = config.get("ffn_hidden_size") or config["intermediate_size"] // (2 if family == "qwen" else 1)
    size = {"h": hidden, "i": inner, "j": 2 * inner, "v": config["vocab_size"], "a": heads * dim, "r": dim // 4}
    size |= {"p": (heads + 2 * kv) * dim, "e": 6, "x": 24, "s": 48}
    random = torch.Generator().manual_seed(seed)

    def tensor(letters):
        value = torch.randn([size[letter] for letter in letters], generator=random)
        return value / math.sqrt(size[letters[1]]) if len(letters) == 2 else 1 + value / 10

    weights = {name: tensor(letters) for name, letters in rest.items()}
    for number in range(config.get("num_layers", config["num_hidden_layers"])):
        dense = number < config.get("first_k_dense_replace", 0)
        names = {name: letters for name, letters in layer.items() if not (dense and name in EXPERTS)}
        weights |= {f"{prefix}{number}.{name}": tensor(letters) for name, letters in names.items()}
    return weights


def write_checkpoint(folder: Path, config, weights, *, kind="safetensors", shards=1):
    """A model folder in the vendor's layout; kind is "safetensors" or "bin". Python files beside it raise if run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    for part in ("modeling", "configuration", "tokenization"):
        (folder / f"{part}_{config.get('model_type', 'chatglm')}.py").write_text("raise SystemExit('their code ran')\n")
    stem, save = ("model", save_file) if kind == "safetensors" else ("pytorch_model", torch.save)
    names = sorted(weights)
    parts = [names[number::shards] for number in range(shards)]
    files = [f"{stem}.{kind}"] if shards == 1 else [f"{stem}-{n + 1:05}-of-{shards:05}.{kind}" for n in range(shards)]
    for file, part in zip(files, parts, strict=True):
        tensors = {name: weights[name] for name in part}
        save(tensors, folder / file, {"format": "pt"}) if kind == "safetensors" else save(tensors, folder / file)
    if shards > 1:
        index = {"metadata": {}, "weight_map": {n: f for f, part in zip(files, parts, strict=True) for n in part}}
        (folder / f"{stem}.{kind}.index.json").write_text(json.dumps(index))
    return folder


VARIANTS = {
    "internlm": ("internlm", {}),
    "internlm_dynamic": ("internlm", {"rotary": {"base": 10000, "type": "dynamic"}, "heads": 3, "dim": 24}),
    "internlm2": ("internlm2", {"heads": 6, "kv": 2, "dim": 12}),
    "internlm2_one_group": ("internlm2", {"heads": 4, "kv": 1}),
    "internlm2_dynamic": ("internlm2", {"kv": 2, "rope_scaling": {"type": "dynamic", "factor": 2.0}}),
    "internlm2_linear": ("internlm2", {"kv": 4, "rope_scaling": {"type": "linear", "factor": 4.0}}),
    "qwen": ("qwen", {"heads": 3, "dim": 20}),
    "qwen_plain": ("qwen", {"use_dynamic_ntk": False, "use_logn_attn": False, "rotary_emb_base": 1000000}),
    "qwen_logn": ("qwen", {"use_dynamic_ntk": False}),
    "chatglm": ("chatglm", {"heads": 6, "kv": 2, "dim": 24}),
    "chatglm_linear": ("chatglm", {"kv": 2, "rope_ratio": 4, "rope_ratio_kind": "linear"}),
    "chatglm_base": ("chatglm", {"kv": 1, "rope_ratio": 50, "dim": 32}),
    "baichuan_7b": ("baichuan", {"max_position_embeddings": 64}),
    "baichuan_13b": ("baichuan", {"heads": 5, "model_max_length": 64}),
    "baichuan2_7b": ("baichuan", {"max_position_embeddings": 64, "norm_head": True, "dim": 12}),
    "minicpm": ("minicpm", {"heads": 3}),
    "deepseek_moe": ("deepseek", {"layers": 3}),
    "baichuan2_13b": ("baichuan", {"heads": 12, "dim": 8, "model_max_length": 64, "norm_head": True}),
}
"""Checkpoints of other shapes than the golden ones: grouped queries, heads that are no power of two, odd widths."""


def variant(name, folder: Path, seed=0, **options):
    """Writes a variant and seeds torch; returns its folder, config, tensors and reference(config, tensors, ids)."""
    torch.manual_seed(seed)
    family, settings = VARIANTS[name]
    config = vendor_config(family, **settings)
    weights = vendor_weights(family, config, seed)
    return write_checkpoint(folder, config, weights, **options), config, weights, LAYOUTS[family][0]
