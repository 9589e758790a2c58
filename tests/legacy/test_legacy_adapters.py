"""LoRA adapters from one layout to the other and back."""

from __future__ import annotations

import json

import pytest
import torch
from legacy_vendors import variant
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

import xtune
from xtune.errors import ModelError
from xtune.export.adapters import convert_adapter, shortest
from xtune.models.adapter import load_adapter

FUSED = {"internlm2": "attention.wqkv", "qwen": "attn.c_attn", "chatglm": "self_attention.query_key_value"}
FUSED |= {"baichuan_7b": "self_attn.W_pack"}
KINDS = {
    "all": {"target_modules": "all-linear"},
    "patterns": {
        "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"],
        "rank_pattern": {"v_proj": 3, "layers.1.self_attn.q_proj": 5},
        "alpha_pattern": {"v_proj": 6, "layers.1.self_attn.q_proj": 10},
    },
    "stabilised": {"target_modules": ["q_proj", "k_proj", "v_proj", "down_proj"], "use_rslora": True},
    "magnitudes": {"target_modules": ["q_proj", "k_proj", "v_proj"], "use_dora": True, "modules_to_save": ["lm_head"]},
    "some layers": {"target_modules": ["v_proj", "o_proj"], "layers_to_transform": [1]},
}


def trained(base, folder, **options):
    """Writes a random adapter of `base` and returns the logits that it gives on some ids."""
    model = get_peft_model(xtune.load_model(base, dtype="float32"), LoraConfig(r=4, lora_alpha=8, **options)).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter) / 20)
    model.save_pretrained(folder)
    return model(IDS).logits


IDS = torch.arange(14)[None]


def logits(base, adapter):
    return load_adapter(xtune.load_model(base, dtype="float32"), adapter)(IDS).logits


def tensors(folder):
    return load_file(folder / "adapter_model.safetensors")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["internlm", *FUSED])
def test_there_and_back_is_the_same_adapter(name, kind, tmp_path):
    base, *_ = variant(name, tmp_path / "base")
    expected = trained(base, tmp_path / "native", **KINDS[kind])
    convert_adapter(tmp_path / "native", tmp_path / "vendor", "original")
    convert_adapter(tmp_path / "vendor", tmp_path / "again", "native")
    before, after = tensors(tmp_path / "native"), tensors(tmp_path / "again")
    assert before.keys() == after.keys()
    assert before and all(torch.equal(before[key], after[key]) for key in before)
    torch.testing.assert_close(logits(base, tmp_path / "again"), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FUSED)
def test_an_adapter_of_the_vendors_modules_gives_what_it_gave(name, tmp_path):
    """W + alpha / r * B A on the vendor's tensors, computed by hand, against the translated adapter."""
    base, config, weights, reference = variant(name, tmp_path / "base")
    prefix = next(key for key in weights if FUSED[name] in key).partition("0.")[0]
    adapter, moved = {}, dict(weights)
    for layer, rank in ((0, 4), (1, 2)):
        module = f"{prefix}{layer}.{FUSED[name]}"
        rows, columns = weights[f"{module}.weight"].shape
        a, b = torch.randn(rank, columns) / 10, torch.randn(rows, rank) / 10
        adapter[f"base_model.model.{module}.lora_A.weight"], adapter[f"base_model.model.{module}.lora_B.weight"] = a, b
        moved[f"{module}.weight"] = weights[f"{module}.weight"] + (16 / 4 if layer == 0 else 5 / 2) * b @ a
    (tmp_path / "vendor").mkdir()
    save_file(adapter, tmp_path / "vendor" / "adapter_model.safetensors")
    leaf = FUSED[name].rpartition(".")[2]
    settings = {"peft_type": "LORA", "base_model_name_or_path": "gone", "r": 4, "lora_alpha": 16}
    settings |= {"target_modules": [leaf], "rank_pattern": {f"1.{FUSED[name]}": 2}}
    settings |= {"alpha_pattern": {f"1.{FUSED[name]}": 5}, "task_type": "CAUSAL_LM"}
    (tmp_path / "vendor" / "adapter_config.json").write_text(json.dumps(settings))
    convert_adapter(tmp_path / "vendor", tmp_path / "native", "native", base=base)
    expected = reference(config, moved, IDS[0])
    torch.testing.assert_close(logits(base, tmp_path / "native")[0], expected, rtol=1e-4, atol=1e-4)


def test_settings_name_the_vendors_modules_and_the_summed_rank(tmp_path):
    base, *_ = variant("qwen", tmp_path / "base")
    trained(base, tmp_path / "native", target_modules=["q_proj", "k_proj", "v_proj", "o_proj"])
    convert_adapter(tmp_path / "native", tmp_path / "vendor", "original")
    settings = json.loads((tmp_path / "vendor" / "adapter_config.json").read_text())
    assert settings["target_modules"] == ["attn.c_proj", "c_attn"]  # mlp.c_proj is not a target
    assert (settings["r"], settings["lora_alpha"]) == (4, 8)
    assert settings["rank_pattern"] == {"c_attn": 12}
    assert settings["alpha_pattern"] == {"c_attn": 24}
    assert settings["base_model_name_or_path"] == str(base)


def test_names_are_as_short_as_they_can_be():
    known = {f"layers.{i}.{part}.proj" for i in range(2) for part in ("attn", "mlp")} | {"head"}
    assert shortest({"layers.0.attn.proj", "layers.1.attn.proj"}, known) == ["attn.proj"]
    assert shortest({"layers.1.attn.proj", "head"}, known) == ["1.attn.proj", "head"]
    assert shortest(known - {"head"}, known) == ["proj"]


def test_what_cannot_be_converted_is_said_in_one_line(tmp_path):
    base, *_ = variant("qwen", tmp_path / "base")
    trained(base, tmp_path / "native", target_modules=["q_proj"], use_dora=True)
    with pytest.raises(
        ModelError, match=r"q, k and v of .*c_attn have not all lora_magnitude_vector; train all or non"
    ):
        convert_adapter(tmp_path / "native", tmp_path / "vendor", "original")
    other, *_ = variant("internlm2", tmp_path / "other")
    with pytest.raises(ModelError, match=r"does not fit .*: it has no module model\.layers\.\d\.self_attn\.c_attn"):
        bad = tmp_path / "bad"
        bad.mkdir()
        save_file(
            {"base_model.model.model.layers.0.self_attn.c_attn.weight": torch.ones(1)},
            bad / "adapter_model.safetensors",
        )
        (bad / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(other)}))
        convert_adapter(bad, tmp_path / "out", "native")
    save_file({"base_model.model.x.prompt": torch.ones(1)}, bad / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="has a tensor that is not LoRA's: got `base_model.model.x.prompt`"):
        convert_adapter(bad, tmp_path / "out", "native")
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(ModelError, match="adapters of this model have one layout only"):
        convert_adapter(tmp_path / "native", tmp_path / "out", "original", base=plain)
    assert not (tmp_path / "out").exists()
