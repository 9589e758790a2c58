"""Names of transformers 4 are those weights of today that peft then puts adapters on."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from xtune.compat.peft import converted_targets

SIZES = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "vocab_size": 20, "num_experts_per_tok": 2, "moe_intermediate_size": 8,
    "num_local_experts": 4, "num_experts": 4, "pad_token_id": 0,
}  # fmt: skip


def model_of(kind):
    with torch.device("cpu"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SIZES))


CASES = [
    ("llama", {"q_proj", "v_proj"}, {"q_proj", "v_proj"}, set()),
    ("llama", "all-linear", "all-linear", set()),
    ("mixtral", {"q_proj", "w1", "w2", "w3"}, {"q_proj"}, {"gate_up_proj", "down_proj"}),
]


@pytest.mark.parametrize(("kind", "names", "modules", "parameters"), CASES)
def test_what_names_mean_in_a_model(kind, names, modules, parameters):
    found, weights = converted_targets(names, model_of(kind))
    assert (found if isinstance(found, str) else set(found)) == modules
    assert {name.rpartition(".")[2] for name in weights} == parameters


@pytest.mark.parametrize(("kind", "names", "modules", "parameters"), CASES)
def test_they_are_the_weights_that_peft_trains(kind, names, modules, parameters):
    found, weights = converted_targets(names, model_of(kind))
    by_ours = get_peft_model(model_of(kind), LoraConfig(target_modules=found, target_parameters=weights or None))
    trained = {name for name, weight in by_ours.named_parameters() if weight.requires_grad}
    assert trained and all("lora_" in name for name in trained)
    experts = {name for name in trained if ".experts." in name}
    assert bool(experts) == bool(parameters) and (trained - experts) != set()


def test_it_changes_nothing_of_the_model():
    model = model_of("mixtral")
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    converted_targets({"w1", "w3"}, model)
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())


def test_half_of_a_fused_weight_is_refused():
    with pytest.raises(ValueError, match="w1 without also targeting w3"):
        converted_targets({"w1"}, model_of("mixtral"))
