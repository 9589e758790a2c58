"""Adapters on models with routed experts."""

from __future__ import annotations

import pytest
from transformers import DeepseekV2Config, DeepseekV2ForCausalLM, MixtralConfig, MixtralForCausalLM

from xtune.tuning import Lora

SIZES = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2,
}  # fmt: skip


def mixtral():
    return MixtralForCausalLM(MixtralConfig(**SIZES, num_local_experts=2))


def deepseek():
    sizes = {"moe_intermediate_size": 32, "n_routed_experts": 2, "n_shared_experts": 1, "num_experts_per_tok": 1}
    latent = {"q_lora_rank": None, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8}
    return DeepseekV2ForCausalLM(DeepseekV2Config(**SIZES, **sizes, **latent, first_k_dense_replace=1))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (mixtral, {"q_proj", "k_proj", "v_proj", "o_proj"}),
        (deepseek, {"q_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"}),
    ],
)
def test_all_linear_passes_experts_by_and_takes_dropout(make, expected):
    tuned = Lora(rank=2, dropout=0.1).prepare(make())
    trained = {name.split(".lora_")[0].rpartition(".")[2] for name, p in tuned.named_parameters() if p.requires_grad}
    assert trained == expected
