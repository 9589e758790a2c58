"""A random model of the same architecture as a large one, small enough for a laptop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtune.errors import ConfigError
from xtune.models.legacy import legacy_model_class

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SMALL = {
    "hidden_size": 64,  # 4-bit quantization works in blocks of 64
    "intermediate_size": 128,
    "n_inner": 128,
    "moe_intermediate_size": 64,
    "shared_expert_intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "q_lora_rank": 64,
    "kv_lora_rank": 64,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 16,
    "v_head_dim": 16,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
}
"""Sizes, and what they become. Whatever else a model's config says, such as tied embeddings or biases, stays."""

CONTEXT = 4096
"""Positions of a small model: room for the longest question of a config's evaluation."""


def small_sizes(config: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes of `config`, made small; what distinguishes the architecture stays.

    A model with as many heads for keys as for queries keeps that, one with a single head for keys too, and others have
    half as many. A head is a quarter of the hidden size, or more where all heads together are wider than that.
    """
    small = {name: SMALL[name] if value and name in SMALL else value for name, value in config.items()}
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    small["num_key_value_heads"] = {1: 1, heads: SMALL["num_attention_heads"]}.get(kv_heads, 2)
    if config.get("head_dim"):
        wider = heads * config["head_dim"] > config["hidden_size"]
        small["head_dim"] = SMALL["hidden_size"] // SMALL["num_attention_heads"] * (2 if wider else 1)
    return {**small, "max_position_embeddings": CONTEXT}


def small_model(config: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A random model with the sizes of `config`, a ModelSpec's, made small, and a vocabulary for `tokenizer`.

    Raises ConfigError for an architecture that neither transformers nor xtune has a class for.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = config["model_type"]
    values = {
        **small_sizes(config),
        "vocab_size": -(-len(tokenizer) // 64) * 64,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    legacy = legacy_model_class({"model_type": kind})
    if legacy is None and kind not in CONFIG_MAPPING:
        raise ConfigError(
            "this model cannot be loaded without code from its own folder, which xtune never runs: got model "
            f"type {kind}, of which neither transformers nor xtune has a class",
            "choose another model",
        )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if legacy is not None:
            return legacy(legacy.config_class.from_dict(values))
        return AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**values))


def write_small_model(config: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes the small model of `config` and the tokenizer to `folder`, as any model folder is."""
    small_model(config, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
