"""What is saved is what was loaded, bit for bit, in the vendor's layout; and the native layout computes the same."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import torch
from legacy_vendors import VARIANTS, variant, vendor_config, vendor_weights, write_checkpoint
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import xtune
from xtune.cli import main
from xtune.errors import ModelError
from xtune.export.layout import save_native


def stored(folder):
    return {key: value for file in folder.glob("model*.safetensors") for key, value in load_file(file).items()}


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    assert expected and all(
        got[key].dtype == expected[key].dtype and torch.equal(got[key], expected[key]) for key in expected
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_saving_gives_back_every_bit_and_every_setting(name, tmp_path):
    folder, config, weights, _ = variant(name, tmp_path / "vendor", kind="bin", shards=2)
    xtune.load_model(folder, dtype="float32").save_pretrained(tmp_path / "saved", max_shard_size="200KB")
    assert (tmp_path / "saved" / "model.safetensors.index.json").is_file()
    assert_same(stored(tmp_path / "saved"), weights)
    assert json.loads((tmp_path / "saved" / "config.json").read_text()) == config


def test_half_precision_checkpoints_keep_their_bits_and_buffers(tmp_path):
    config = vendor_config("chatglm", kv=2, torch_dtype="bfloat16")
    weights = {key: value.bfloat16() for key, value in vendor_weights("chatglm", config).items()}
    write_checkpoint(tmp_path / "vendor", config, weights)
    model = xtune.load_model(tmp_path / "vendor", dtype="bfloat16")
    model.save_pretrained(tmp_path / "saved")
    assert_same(stored(tmp_path / "saved"), weights)


@pytest.mark.parametrize("stores", [True, False])
def test_stored_frequencies_are_written_only_where_they_were_read(stores, tmp_path):
    config = vendor_config("baichuan", max_position_embeddings=64)
    weights = vendor_weights("baichuan", config)
    if stores:
        frequencies = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.randn(8) for i in range(2)}
        weights |= frequencies
    write_checkpoint(tmp_path / "vendor", config, weights)
    xtune.load_model(tmp_path / "vendor", dtype="float32").save_pretrained(tmp_path / "saved")
    assert_same(stored(tmp_path / "saved"), weights)


def test_changed_settings_are_saved_under_the_vendors_names(tmp_path):
    folder, config, _, _ = variant("chatglm", tmp_path / "vendor")
    model = xtune.load_model(folder, dtype="float32")
    model.resize_token_embeddings(256)
    model.config.use_cache = False
    model.to(torch.bfloat16).save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "config.json").read_text())
    changes = {"padded_vocab_size": 256, "vocab_size": 256, "use_cache": False, "torch_dtype": "bfloat16"}
    assert saved == config | changes
    assert xtune.load_model(tmp_path / "saved").get_input_embeddings().weight.shape[0] == 256


def test_early_qwen_keeps_its_spelling(tmp_path):
    config = vendor_config("qwen")
    early = {"n_embd": "hidden_size", "n_layer": "num_hidden_layers", "n_head": "num_attention_heads"}
    early |= {"ffn_hidden_size": "intermediate_size"}
    spelled = {key: value for key, value in config.items() if key not in early.values()}
    spelled |= {name: config[later] for name, later in early.items()}
    write_checkpoint(tmp_path / "vendor", spelled, vendor_weights("qwen", config))
    xtune.load_model(tmp_path / "vendor", dtype="float32").save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "config.json").read_text()) == spelled


def test_a_config_without_model_type_is_known_by_its_architecture(tmp_path):
    config = vendor_config("chatglm", kv=2, architectures=["ChatGLMModel"])
    del config["model_type"]
    write_checkpoint(tmp_path, config, vendor_weights("chatglm", config))
    assert type(xtune.load_model(tmp_path)).__name__ == "ChatGLMForConditionalGeneration"


def test_code_beside_the_weights_is_never_run(tmp_path):
    folder, *_ = variant("internlm2", tmp_path)  # its Python files exit when run, and auto_map names them
    xtune.load_model(folder)
    assert not [module for module in sys.modules if "transformers_modules" in module]


def test_weight_operations_need_no_parameter_shapes(tmp_path, monkeypatch):
    """Under ZeRO-3 every parameter is empty while a checkpoint is read."""
    from xtune.models.legacy.weights import join_qkv, split_qkv

    class Sizes:
        num_attention_heads, num_key_value_heads, head_dim = 6, 2, 4

    for grouped in (False, True):
        for shape in ((40, 3), (40,)):
            fused = torch.randn(shape)
            q, k, v = split_qkv(fused, Sizes, grouped=grouped)
            assert (len(q), len(k), len(v)) == (24, 8, 8)
            assert torch.equal(join_qkv([q, k, v], Sizes, grouped=grouped), fused)


@pytest.mark.parametrize("name", [name for name in VARIANTS if "13b" not in name and "moe" not in name])
def test_the_native_layout_computes_the_same_without_xtune(name, tmp_path):
    folder, config, _, _ = variant(name, tmp_path / "vendor")
    model = xtune.load_model(folder, dtype="float32").eval()
    save_native(model, tmp_path / "native")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "native").eval()
    assert type(plain).__module__.startswith("transformers.models.")
    ids = torch.randint(0, 200, (2, 32 if config["model_type"] == "qwen" else 50))
    with torch.no_grad():
        torch.testing.assert_close(plain(ids).logits, model(ids).logits, rtol=0, atol=1e-6)


def test_tied_embeddings_survive_both_layouts(tmp_path):
    config = vendor_config("internlm2", tie_word_embeddings=True)
    weights = vendor_weights("internlm2", config)
    del weights["output.weight"]
    model = xtune.load_model(write_checkpoint(tmp_path / "vendor", config, weights), dtype="float32").eval()
    model.save_pretrained(tmp_path / "saved")
    assert_same(stored(tmp_path / "saved"), weights)
    save_native(model, tmp_path / "native")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "native").eval()
    ids = torch.randint(0, 200, (1, 12))
    assert torch.equal(plain(ids).logits, model(ids).logits)


@pytest.fixture
def whole_model(tmp_path, vocabulary):
    """A vendor's folder with weights, tokenizer and code."""
    family, settings = VARIANTS["internlm2"]
    config = vendor_config(family, **settings, vocabulary=512)  # a row for each token of the tokenizer
    folder = write_checkpoint(tmp_path / "model", config, vendor_weights(family, config, 0))
    shutil.copytree(vocabulary, folder, dirs_exist_ok=True)
    return folder


def test_convert_layout_writes_what_transformers_loads_alone_and_what_the_vendor_had(whole_model, tmp_path, capsys):
    assert main(["convert", "layout", str(whole_model), str(tmp_path / "native")]) == 0
    assert "(native)" in capsys.readouterr().out
    config = json.loads((tmp_path / "native" / "config.json").read_text())
    assert (config["model_type"], "auto_map" in config) == ("llama", False)
    assert type(AutoTokenizer.from_pretrained(tmp_path / "native")).__module__.startswith("transformers.")
    assert main(["convert", "layout", str(whole_model), str(tmp_path / "again"), "--layout", "original"]) == 0
    assert (tmp_path / "again" / "modeling_internlm2.py").is_file()
    assert_same(stored(tmp_path / "again"), stored(whole_model))
    assert xtune.load_tokenizer(tmp_path / "again").encode("the") == xtune.load_tokenizer(whole_model).encode("the")


@pytest.mark.parametrize("layout", ["original", "native"])
def test_merging_writes_either_layout(whole_model, layout, tmp_path):
    tuned = get_peft_model(xtune.load_model(whole_model), LoraConfig(r=2, target_modules=["q_proj"])).eval()
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    tuned.save_pretrained(tmp_path / "adapter")
    ids = torch.arange(9)[None]
    expected = tuned(ids).logits
    arguments = ["merge", str(whole_model), str(tmp_path / "adapter"), str(tmp_path / "out"), "--layout", layout]
    assert main(["convert", *arguments]) == 0
    assert (tmp_path / "out" / "modeling_internlm2.py").is_file() == (layout == "original")
    merged = xtune.load_model(tmp_path / "out").eval()
    assert type(merged).__name__ == ("LlamaForCausalLM" if layout == "native" else "InternLM2ForCausalLM")
    torch.testing.assert_close(merged(ids).logits, expected, rtol=0, atol=1e-5)


def test_alibi_has_no_native_layout(tmp_path):
    model = xtune.load_model(variant("baichuan_13b", tmp_path)[0])
    with pytest.raises(ModelError, match=r"ALiBi has no native layout: got Baichuan-13B; keep the vendor's"):
        save_native(model, tmp_path / "native")


def test_deepseek_moe_has_no_native_layout(tmp_path):
    model = xtune.load_model(variant("deepseek_moe", tmp_path)[0])
    with pytest.raises(ModelError, match="DeepSeek-MoE has no native layout: no class of transformers computes it"):
        save_native(model, tmp_path / "native")


def test_quantized_and_other_models_have_no_native_layout(tmp_path):
    model = xtune.load_model(variant("internlm", tmp_path)[0], quantization=8)
    with pytest.raises(ModelError, match="quantized weights have no native layout"):
        save_native(model, tmp_path / "native")
    with pytest.raises(ModelError, match="Linear has one layout only"):
        save_native(torch.nn.Linear(1, 1), tmp_path / "native")
