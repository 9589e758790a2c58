"""stored_tensors gives what save_pretrained writes, for every way in which transformers changes names on the way."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from xtune.compat.saving import stored_tensors

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
