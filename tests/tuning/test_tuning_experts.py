"""Adapters on models with routed experts, and what names of targets mean there."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    DeepseekV2Config,
    DeepseekV2ForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

import xtune
from xtune.checkpoints.save import save_adapter
from xtune.errors import ConfigError
from xtune.models.adapter import load_adapter
from xtune.tuning import Lora
from xtune.tuning.targets import what_is_trained

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


def qwen():
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8}
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(**SIZES, **experts))


@pytest.mark.parametrize(
    ("make", "targets", "told"),
    [
        (qwen, ["q_proj", "v_prj"], r"names no module of this model: got v_prj; did you mean v_proj"),
        (mixtral, ["q_proj", "v_proj", "gate_up_prj"], r"names no module of this model: got gate_up_prj"),
        (mixtral, ["q_proj", "w1"], "Cannot convert PEFT target.s. w1 without also targeting w3"),
        (deepseek, ["c_attn"], r"names no module of this model: got c_attn; "),
    ],
)
def test_each_target_names_something(make, targets, told):
    with pytest.raises(ConfigError, match=told):
        Lora(rank=2, dropout=0.0, targets=targets).prepare(make())


@pytest.mark.parametrize(
    ("make", "targets"),
    [
        (qwen, ["q_proj", "gate_up_proj", "down_proj"]),
        (qwen, ["experts.down_proj"]),
        (mixtral, ["q_proj", "gate_up_proj"]),
        (mixtral, ["w1", "w2", "w3"]),
    ],
)
def test_experts_that_are_named_are_trained_and_come_back(make, targets, tmp_path):
    torch.manual_seed(0)
    make().save_pretrained(tmp_path / "base")
    with pytest.raises(ConfigError, match=r"names weights of experts.*take no dropout: got .*set tuning\.dropout=0"):
        Lora(rank=2, targets=targets).prepare(xtune.load_model(tmp_path / "base"))
    tuned = Lora(rank=2, dropout=0.0, targets=targets).prepare(xtune.load_model(tmp_path / "base"))
    told = what_is_trained(tuned)
    ids = torch.arange(3, 40)[None]
    trained = {name: weight for name, weight in tuned.named_parameters() if weight.requires_grad}
    assert any("experts" in name for name in trained)
    optimizer = torch.optim.SGD(trained.values(), lr=1.0)
    for _ in range(2):
        tuned(ids, labels=ids).loss.backward()
        optimizer.step()
    assert all((weight.grad != 0).any() for weight in trained.values())
    (tmp_path / "adapter").mkdir()
    save_adapter(tuned, {name: weight.detach() for name, weight in trained.items()}, tmp_path / "adapter")
    with torch.no_grad():
        expected = tuned.eval()(ids).logits
        again = load_adapter(xtune.load_model(tmp_path / "base"), tmp_path / "adapter")
        assert torch.equal(again(ids).logits, expected)
        assert torch.allclose(again.merge_and_unload()(ids).logits, expected, atol=1e-5)
    assert ("none on the experts" in told) == (len(targets) < 3)


def test_what_is_trained_is_one_line(tiny_model):
    told = what_is_trained(Lora(rank=2).prepare(mixtral()))
    assert told.startswith(
        "adapters on k_proj, o_proj, q_proj, v_proj; none on the experts (down_proj, gate_up_proj), "
    )
    plain = Lora(rank=2, targets=["q_proj"], train_also=["lm_head"]).prepare(xtune.load_model(tiny_model))
    assert what_is_trained(plain) == "adapters on q_proj; lm_head whole"
    assert what_is_trained(xtune.load_model(tiny_model)) == "every weight is trained"
