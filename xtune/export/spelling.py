"""The spellings of transformers 4 beside those of transformers 5, for whoever reads a folder with the older one.

transformers 5 reads both and writes its own alone. The tables hold what the older one would silently replace with its
defaults: found by reading, for every causal model type, a config that 4.57 wrote and 5 wrote anew.
"""

from __future__ import annotations

from typing import Any

ROPE, FULL, SLIDING = "rope_parameters", "rope_parameters.full_attention", "rope_parameters.sliding_attention"

EVERY_MODEL = {
    "torch_dtype": "dtype",
    "rope_theta": f"{ROPE}.rope_theta",
    "partial_rotary_factor": f"{ROPE}.partial_rotary_factor",
}
"""Keys of transformers 4 and where transformers 5 has their values."""

MODELS = {
    "gemma3_text": {"rope_theta": f"{FULL}.rope_theta", "rope_local_base_freq": f"{SLIDING}.rope_theta"},
    "gemma3n_text": {"rope_theta": f"{FULL}.rope_theta", "rope_local_base_freq": f"{SLIDING}.rope_theta"},
    "olmo3": {"rope_theta": f"{FULL}.rope_theta"},
    "modernbert-decoder": {"global_rope_theta": f"{FULL}.rope_theta", "local_rope_theta": f"{SLIDING}.rope_theta"},
    "gpt_neox": {"rotary_emb_base": f"{ROPE}.rope_theta", "rotary_pct": f"{ROPE}.partial_rotary_factor"},
    "gpt_neox_japanese": {"rotary_emb_base": f"{ROPE}.rope_theta", "rotary_pct": f"{ROPE}.partial_rotary_factor"},
    "qwen3_moe": {"num_experts": "num_local_experts"},
}
"""More of them, by model_type."""

LINEAR, LONG = ("type", "factor"), ("type", "short_factor", "long_factor")
SCALING = {
    "olmo": LINEAR,
    "olmo2": LINEAR,
    "hunyuan_v1_dense": LINEAR,
    "hunyuan_v1_moe": LINEAR,
    "phi3": LONG,
    "phi4_multimodal": LONG,
}
"""Fields of rope_scaling, for the model types that transformers 4 refuses with others; "type" is "rope_type" else."""

TOKENIZER_CLASSES = {"TokenizersBackend": "PreTrainedTokenizerFast"}
"""Names of classes that only transformers 5 has, and what both know them by."""


def both_spellings(config: dict[str, Any]) -> dict[str, Any]:
    """The values of a config.json, with those that only transformers 5 would find under its older keys too."""
    parts = {key: both_spellings(value) if is_config(value) else value for key, value in config.items()}
    kind = str(config.get("model_type"))
    own = MODELS.get(kind, {})
    usual = {key: place for key, place in EVERY_MODEL.items() if place not in own.values()}
    found = {key: at(config, place) for key, place in {**usual, **own}.items()}
    if ROPE in config:
        found["rope_scaling"] = rope_scaling(config, kind)
    older = {key: value for key, value in found.items() if value is not None or key == "rope_scaling"}
    return {**older, **parts}


def is_config(value: Any) -> bool:
    """Whether a value is the config of a part of the model."""
    return isinstance(value, dict) and ("model_type" in value or ROPE in value)


def at(config: dict[str, Any], place: str) -> Any:
    """The value at a dotted place, None where there is none."""
    value: Any = config
    for key in place.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def rope_scaling(config: dict[str, Any], kind: str) -> dict[str, Any] | None:
    """What transformers 4 calls rope_scaling; None for plain RoPE. With two kinds of layers, it is the full ones'."""
    rope = at(config, FULL) or at(config, ROPE) or {}
    if rope.get("rope_type", "default") == "default":
        return None
    scaling = {key: value for key, value in rope.items() if key not in ("rope_theta", "partial_rotary_factor")}
    if kind in SCALING:
        scaling["type"] = scaling.pop("rope_type")
        return {key: scaling[key] for key in SCALING[kind] if key in scaling}
    return scaling


def tokenizer_spelling(settings: dict[str, Any]) -> dict[str, Any]:
    """The values of a tokenizer_config.json as both read them: transformers 4 crashes on those that are changed."""
    changed = dict(settings)
    kind = str(settings.get("tokenizer_class"))
    if kind in TOKENIZER_CLASSES:
        changed["tokenizer_class"] = TOKENIZER_CLASSES[kind]
    if isinstance(settings.get("extra_special_tokens"), list):  # where it is a dict, it names tokens, in both
        extra = changed.pop("extra_special_tokens")
        changed.setdefault("additional_special_tokens", extra)
    return changed
