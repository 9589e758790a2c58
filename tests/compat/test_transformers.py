"""What compat.transformers tells of models is what transformers does with them."""

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM

from xtune.compat.transformers import (
    attention_of,
    causal_classes,
    forget_quantizer,
    set_attention,
    stored_tensors,
    takes_sdpa,
    without_zero3,
)

SMALL = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 20,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 8, "num_local_experts": 4, "n_routed_experts": 4}
MODELS = {"llama": {}, "qwen3_moe": EXPERTS, "mixtral": EXPERTS, "gemma3_text": {"head_dim": 8}, "phi3": {}}


@pytest.mark.parametrize("loaded", [True, False])
@pytest.mark.parametrize("kind", MODELS)
def test_the_tensors_are_those_that_transformers_writes(kind, loaded, tmp_path):
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SMALL, **MODELS[kind]))
    model.save_pretrained(tmp_path)
    if loaded:
        model = AutoModelForCausalLM.from_pretrained(tmp_path)
    written, found = load_file(tmp_path / "model.safetensors"), stored_tensors(model)
    assert found.keys() - written.keys() <= {"lm_head.weight"}, "tied weights have both names here"
    assert all(torch.equal(found[name], tensor) for name, tensor in written.items())


def tiny(kind="llama", **options):
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SMALL, **MODELS[kind]), **options)


def test_the_attention_that_is_told_is_the_one_that_is_computed():
    asked = []

    def watched(module, query, key, value, *args, **options):
        asked.append(module.layer_idx)
        return torch.zeros_like(query.transpose(1, 2)), None

    AttentionInterface.register("watched", watched)
    for name in ("sdpa", "eager"):
        assert attention_of(tiny(attn_implementation=name).config) == name
    model = tiny(attn_implementation="eager")
    plain = model(torch.arange(4)[None]).logits
    set_attention(model.config, "watched")
    assert attention_of(model.config) == "watched" and asked == []
    assert not torch.equal(model(torch.arange(4)[None]).logits, plain) and asked == [0]
    set_attention(model.config, "eager")
    assert torch.equal(model(torch.arange(4)[None]).logits, plain) and asked == [0]


@pytest.mark.parametrize(
    "kind", ["LlamaForCausalLM", "BloomForCausalLM", "CTRLLMHeadModel", "RwkvForCausalLM", "XLMWithLMHeadModel"]
)
def test_a_class_takes_sdpa_where_transformers_makes_it_with_it(kind):
    found = getattr(transformers, kind)
    config = found.config_class()
    try:
        with torch.device("meta"):
            found._from_config(config, attn_implementation="sdpa")
        made = True
    except ValueError as error:
        assert "scaled_dot_product_attention" in str(error)
        made = False
    assert takes_sdpa(found) is made


@pytest.mark.parametrize("kind", ["llama", "qwen3_moe", "bert", "vit", "t5", "whisper", "gemma3", "clip"])
def test_a_config_has_the_causal_classes_that_transformers_makes_of_it(kind):
    config = AutoConfig.for_model(kind)
    try:
        with torch.device("meta"):
            made = type(AutoModelForCausalLM.from_config(config))
    except ValueError:
        assert causal_classes(config) == []
    else:
        assert made in causal_classes(config)


def test_nothing_has_no_causal_class():
    assert causal_classes(None) == []


def test_a_model_that_was_dequantized_is_written_as_a_plain_one(tmp_path):
    from transformers import BitsAndBytesConfig

    tiny().save_pretrained(tmp_path / "plain")
    way = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    model = AutoModelForCausalLM.from_pretrained(
        tmp_path / "plain", quantization_config=way, device_map={"": "cpu"}, dtype=torch.float32
    )
    quantizer, config = model.hf_quantizer, model.config.quantization_config
    model = model.dequantize()
    model.hf_quantizer, model.config.quantization_config = quantizer, config  # as a GGUF file leaves it
    forget_quantizer(model)
    model.save_pretrained(tmp_path / "again")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "again")
    assert not hasattr(again.config, "quantization_config") and again.state_dict().keys() == tiny().state_dict().keys()
    assert all(torch.equal(model.state_dict()[name], weight) for name, weight in again.state_dict().items())
    forget_quantizer(again)  # nothing to forget is no fault


def test_a_model_is_made_on_a_device_in_spite_of_zero_3():
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.integrations.deepspeed import HfDeepSpeedConfig, is_deepspeed_zero3_enabled

    settings = LlamaConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=9)
    kept = HfDeepSpeedConfig({"zero_optimization": {"stage": 3}, "train_micro_batch_size_per_gpu": 1})
    with without_zero3():
        assert not is_deepspeed_zero3_enabled()
        made = LlamaForCausalLM.from_pretrained(None, config=settings, state_dict={}, device_map={"": "meta"})
    assert made.device.type == "meta" and is_deepspeed_zero3_enabled()
    del kept
    assert not is_deepspeed_zero3_enabled()
    with without_zero3():
        assert not is_deepspeed_zero3_enabled()
