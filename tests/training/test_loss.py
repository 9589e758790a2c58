"""The chunked loss against torch's own cross entropy and against the models' own loss."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from engine_standins import shifted
from torch import nn

from xtune.conversation import IGNORE
from xtune.training import loss as loss_module
from xtune.training.forward import LogProbModel, find_rule
from xtune.training.loss import LogitRule, log_probabilities


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(loss_module, "CHUNK_ELEMENTS", 16 * 50)  # several chunks, the last one smaller


class NormHead(nn.Linear):
    """A head that normalises its weight first, as Baichuan 2's does."""

    def forward(self, hidden):
        return F.linear(hidden, F.normalize(self.weight), self.bias)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rule", [LogitRule(), LogitRule(0.5), LogitRule(2.0, 3.0)])
@pytest.mark.parametrize("kind", [nn.Linear, NormHead])
@pytest.mark.parametrize("summed", [True, False])
def test_loss_and_gradients_equal_plain_cross_entropy(summed, kind, rule, bias, frozen):
    torch.manual_seed(0)
    head = kind(8, 50, bias=bias).requires_grad_(not frozen)
    hidden = torch.randn(41, 8, requires_grad=True)
    targets = torch.randint(0, 50, (41,))
    wanted = [hidden] if frozen else [hidden, *head.parameters()]

    plain = F.cross_entropy(rule(head(hidden)), targets, reduction="sum" if summed else "none")
    factors = torch.tensor(0.37) if summed else torch.randn(41)  # positions may weigh differently
    expected = torch.autograd.grad((plain * factors).sum(), wanted)
    ours = -log_probabilities(hidden, head, targets, rule, summed=summed)
    got = torch.autograd.grad((ours * factors).sum(), wanted)

    assert ours.shape == ((1,) if summed else (41,))
    torch.testing.assert_close(ours, plain[None] if summed else plain)
    for gradient, reference in zip(got, expected, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [nn.Linear, NormHead])
@pytest.mark.parametrize("summed", [True, False])
def test_no_learnt_position_still_has_a_graph(summed, kind):
    head, hidden = kind(8, 50), torch.randn(0, 8, requires_grad=True)
    total = log_probabilities(hidden, head, torch.empty(0, dtype=torch.long), LogitRule(), summed=summed).sum()
    total.backward()
    assert total.item() == 0.0 and not any(part.grad.any() for part in head.parameters())


def test_half_precision_stays_near_fp32():
    torch.manual_seed(0)
    head, hidden, targets = nn.Linear(64, 50), torch.randn(41, 64), torch.randint(0, 50, (41,))
    exact = log_probabilities(hidden, head, targets, LogitRule())
    with torch.autocast("cpu", torch.bfloat16):
        half = log_probabilities(hidden, head, targets, LogitRule())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.sum(), exact.sum(), rtol=1e-2, atol=0)


def tiny(name: str, **options):
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(
        vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, pad_token_id=0, **options,
    )  # fmt: skip
    return getattr(transformers, f"{name}ForCausalLM")(config)


MODELS = {
    "llama": ("Llama", {}),
    "llama tied": ("Llama", {"tie_word_embeddings": True}),
    "qwen2": ("Qwen2", {}),
    "gemma2 capped": ("Gemma2", {"final_logit_softcapping": 0.05}),
    "granite scaled": ("Granite", {"logits_scaling": 8.0}),
    "cohere scaled": ("Cohere", {"logit_scale": 0.25}),
}


@pytest.mark.parametrize("which", MODELS)
def test_a_model_gives_its_own_loss_and_gradients(which):
    name, options = MODELS[which]
    model = tiny(name, **options).eval()
    ids = torch.randint(1, 50, (3, 30))
    labels = torch.where(torch.rand(3, 30) < 0.6, ids, IGNORE)
    labels[:, 0] = IGNORE
    trained = (labels != IGNORE).sum()

    model(input_ids=ids, labels=labels).loss.backward()
    expected = {key: value.grad.clone() for key, value in model.named_parameters()}
    reference = model(input_ids=ids, labels=labels).loss
    model.zero_grad()
    learner = LogProbModel(model)
    assert learner.rule is not None
    loss = -learner({"input_ids": ids, "use_cache": False}, shifted(labels)).sum() / trained
    loss.backward()

    torch.testing.assert_close(loss, reference)
    for key, value in model.named_parameters():
        torch.testing.assert_close(value.grad, expected[key], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("name", "options", "rule"),
    [
        ("Gemma2", {"final_logit_softcapping": 30.0}, LogitRule(1.0, 30.0)),
        ("Granite", {"logits_scaling": 6.0}, LogitRule(1 / 6)),
        ("Cohere", {"logit_scale": 0.0625}, LogitRule(0.0625)),
    ],
)
def test_the_rule_is_found_in_the_dtype_of_the_model(name, options, rule, dtype):
    """A cap of 30 bends small logits by less than bfloat16 rounds them."""
    for spread in (0.02, 1.0):
        assert find_rule(tiny(name, initializer_range=spread, **options).to(dtype), dtype) == rule


@pytest.mark.parametrize("targets", [["q_proj", "down_proj"], ["q_proj", "lm_head"]])
def test_a_model_inside_peft(targets):
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(tiny("Llama"), LoraConfig(target_modules=targets, init_lora_weights=False)).eval()
    ids = torch.randint(1, 50, (2, 30))
    trained = {key: value for key, value in model.named_parameters() if value.requires_grad}
    reference = model(input_ids=ids, labels=ids).loss
    expected = torch.autograd.grad(reference, list(trained.values()))
    labels = ids.clone()
    labels[:, 0] = IGNORE
    found = LogProbModel(model)({"input_ids": ids, "use_cache": False}, shifted(labels))
    loss = -found.sum() / (labels != IGNORE).sum()
    got = torch.autograd.grad(loss, list(trained.values()))
    torch.testing.assert_close(loss, reference)
    for gradient, wanted in zip(got, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-6)


def test_an_unknown_way_to_logits_takes_whole_logits_and_says_so(caplog):
    model = tiny("Llama")
    plain = model.forward
    model.forward = lambda **inputs: (lambda out: setattr(out, "logits", out.logits**3) or out)(plain(**inputs))
    learner = LogProbModel(model)
    assert learner.rule is None
    assert "takes whole logits" in caplog.text
    ids = torch.randint(1, 50, (2, 30))
    expected = F.cross_entropy(model(input_ids=ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="sum")
    torch.testing.assert_close(-learner({"input_ids": ids}, shifted(ids)).sum(), expected)
