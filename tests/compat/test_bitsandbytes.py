"""4-bit weights on a CPU keep their gradients after an evaluation; paged state is told from other state."""

from types import SimpleNamespace

import pytest
import torch

from xtune.compat.bitsandbytes import is_paged, keep_weights_readable, paged


def quantized(tiny_model, quant_type):
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    way = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=quant_type, bnb_4bit_compute_dtype=torch.bfloat16)
    return AutoModelForCausalLM.from_pretrained(
        tiny_model, quantization_config=way, device_map={"": "cpu"}, dtype=torch.bfloat16
    )


def gradient(model):
    """That of the embeddings' output, which goes through every quantized layer."""
    inputs = model.get_input_embeddings()(torch.arange(3, 20)[None]).detach().float().requires_grad_()
    model(inputs_embeds=inputs.to(torch.bfloat16)).logits.float().logsumexp(-1).sum().backward()
    return inputs.grad


@pytest.mark.parametrize("quant_type", ["nf4", "fp4"])
def test_an_evaluation_leaves_gradients_and_weights_as_they_were(tiny_model, quant_type):
    from bitsandbytes.functional import dequantize_4bit

    model = quantized(tiny_model, quant_type)
    keep_weights_readable(model)
    layer = model.get_submodule("model.layers.0.self_attn.q_proj")
    weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    before = gradient(model.train())
    with torch.no_grad():
        model.eval()(torch.arange(3, 20)[None])
    after = gradient(model.train())
    assert before.abs().max() > 0 and torch.equal(before, after)
    assert torch.equal(weight, dequantize_4bit(layer.weight.data, layer.weight.quant_state))


def test_a_model_without_such_layers_is_left_alone():
    layer = torch.nn.Linear(2, 2)
    keep_weights_readable(layer)
    assert not hasattr(layer, "support_avx512bf16_for_cpu")


def test_only_the_two_averages_of_a_paged_optimizer_are_paged():
    import bitsandbytes

    weight = torch.nn.Parameter(torch.ones(4))
    for name, wanted in (("PagedAdamW32bit", True), ("PagedAdamW8bit", True), ("AdamW8bit", False)):
        optimizer = getattr(bitsandbytes.optim, name)([weight])
        assert [is_paged(optimizer, key) for key in ("state1", "state2", "step")] == [wanted, wanted, False]
    assert not is_paged(torch.optim.AdamW([weight]), "state1")


def test_what_is_put_back_lies_in_the_optimizers_own_memory():
    memory = torch.zeros(4)
    optimizer = SimpleNamespace(get_state_buffer=lambda parameter, dtype: memory.to(dtype))
    assert paged(torch.arange(4.0), torch.ones(4), optimizer).data_ptr() == memory.data_ptr()
    assert torch.equal(memory, torch.arange(4.0))


@pytest.mark.gpu
def test_paged_state_can_be_put_back_on_a_gpu():
    import bitsandbytes

    weight = torch.nn.Parameter(torch.ones(100_000, device="cuda"))  # smaller ones are not paged
    optimizer = bitsandbytes.optim.PagedAdamW32bit([weight])
    found = paged(torch.arange(100_000.0), weight, optimizer)
    assert getattr(found, "is_paged", False) and torch.equal(found.cpu(), torch.arange(100_000.0))
