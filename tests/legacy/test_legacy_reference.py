"""Every family against its papers' formulas, on checkpoints of many shapes in the vendors' layouts."""

from __future__ import annotations

import pytest
import torch
from legacy_vendors import VARIANTS, variant

import xtune


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", VARIANTS)
def test_logits_are_those_of_the_formulas(name, attention, tmp_path):
    folder, config, weights, reference = variant(name, tmp_path, seed=len(name))
    model = xtune.load_model(folder, dtype="float32", attention=attention).eval()
    for length in (1, 2, 31, 33, 80):
        ids = torch.randint(0, config["vocab_size"], (length,))
        with torch.no_grad():
            logits = model(ids[None]).logits[0]
        torch.testing.assert_close(logits, reference(config, weights, ids), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["qwen", "internlm2_dynamic", "baichuan_13b", "chatglm"])
def test_training_past_the_trained_length_follows_the_vendor(name, tmp_path):
    """Qwen-1 stretches in eval mode only; the others in both."""
    folder, config, weights, reference = variant(name, tmp_path)
    model = xtune.load_model(folder, dtype="float32").train()
    ids = torch.randint(0, config["vocab_size"], (70,))
    expected = reference(config | {"use_dynamic_ntk": False, "use_logn_attn": False}, weights, ids)
    torch.testing.assert_close(model(ids[None]).logits[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["baichuan_13b", "qwen", "internlm2"])
def test_gradients_are_those_of_the_formulas(name, tmp_path):
    folder, config, weights, reference = variant(name, tmp_path)
    model = xtune.load_model(folder, dtype="float32").train()
    ids = torch.randint(0, config["vocab_size"], (20,))
    model(ids[None], labels=ids[None]).loss.backward()
    embedding = next(key for key in weights if "emb" in key or "wte" in key)
    weights[embedding].requires_grad_()
    torch.nn.functional.cross_entropy(reference(config, weights, ids)[:-1], ids[1:]).backward()
    got = model.get_input_embeddings().weight.grad
    torch.testing.assert_close(got, weights[embedding].grad, rtol=1e-3, atol=1e-6)
