"""When Liger's kernel computes the loss: only where it is there and gives what ours gives."""

from __future__ import annotations

import os
import sys
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from engine_standins import shifted, tiny_llama
from torch import nn

from xtune.training import fused
from xtune.training.forward import LogProbModel
from xtune.training.loss import LogitRule, log_probabilities

PLAIN = LogitRule()
MODULE = "liger_kernel.transformers.fused_linear_cross_entropy"


class StandIn(nn.Module):
    """The signature of Liger's class; `wrong` is a factor on the gradient of the weight, or an error."""

    wrong = 1.0

    def __init__(self, reduction="mean", softcap=None, accum_dtype=None):
        super().__init__()
        assert reduction == "sum" and accum_dtype == torch.float32
        self.softcap = softcap

    def forward(self, lin_weight, _input, target, bias=None):
        if isinstance(self.wrong, Exception):
            raise self.wrong
        weight = lin_weight * self.wrong + (lin_weight * (1 - self.wrong)).detach()
        return F.cross_entropy(
            LogitRule(1.0, self.softcap)(F.linear(_input, weight, bias).float()), target, reduction="sum"
        )


@pytest.fixture
def installed(monkeypatch):
    for name in ("liger_kernel", "liger_kernel.transformers"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    module = ModuleType(MODULE)
    module.LigerFusedLinearCrossEntropyLoss = StandIn
    monkeypatch.setitem(sys.modules, MODULE, module)
    monkeypatch.setattr(fused, "available", lambda device: True)


def make_head(trained=True, bias=False):
    torch.manual_seed(0)
    return nn.Linear(16, 50, bias=bias).requires_grad_(trained)


@pytest.mark.parametrize("rule", [PLAIN, LogitRule(1.0, 5.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("trained", "bias"), [(True, True), (True, False), (False, False)])
def test_it_is_taken_where_it_gives_what_ours_gives(installed, caplog, rule, dtype, trained, bias):
    caplog.set_level("INFO", logger="xtune")
    assert fused.fused_loss(make_head(trained, bias), rule, dtype) is not None
    assert "the loss is computed by Liger's kernel, which differs from ours by" in caplog.text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (1.05, "Liger's kernel is not used: it differs from our loss by 5.0e-02"),
        (float("nan"), "Liger's kernel is not used: it differs from our loss by nan"),
        (TypeError("no such\nargument"), "Liger's kernel is not used: got TypeError: no such argument"),
    ],
)
def test_it_is_not_taken_where_it_does_not(installed, monkeypatch, caplog, wrong, said):
    monkeypatch.setattr(StandIn, "wrong", wrong)
    assert fused.fused_loss(make_head(), PLAIN, torch.float32) is None
    assert said in caplog.text


@pytest.mark.parametrize(
    ("head", "rule", "dtype"),
    [
        (make_head(), None, torch.float32),
        (make_head(), LogitRule(0.5), torch.float32),
        (nn.Sequential(make_head()), PLAIN, torch.float32),
        (make_head(), PLAIN, torch.float16),
    ],
)
def test_what_it_cannot_do_is_ours(installed, head, rule, dtype):
    assert fused.fused_loss(head, rule, dtype) is None


def test_without_cuda_it_is_ours():
    assert not fused.available(torch.device("cpu"))
    assert LogProbModel(tiny_llama()).fused is None


def test_the_model_takes_it_for_what_it_can_do(installed):
    model = LogProbModel(tiny_llama(), summed=True)
    assert model.fused is not None
    calls, real = [], model.fused
    model.fused = lambda *parts: calls.append(len(parts[0])) or real(*parts)
    ids = torch.arange(5, 25)[None]
    nothing = torch.full_like(ids, -100)
    for labels in (ids, nothing):
        labels = shifted(labels)
        got = model({"input_ids": ids, "use_cache": False}, labels)
        model.fused, chosen = None, model.fused
        assert torch.allclose(got, model({"input_ids": ids, "use_cache": False}, labels))
        model.fused = chosen
    assert calls == [19]  # a batch of which nothing is trained on is ours
    with torch.no_grad():
        model({"input_ids": ids, "use_cache": False}, shifted(ids))
    assert calls == [19]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("trained", "bias"), [(True, True), (False, False)])
def test_the_real_kernel(dtype, trained, bias):
    """On CUDA; or on a CPU with triton's interpreter, which is slow and takes no cap."""
    pytest.importorskip("liger_kernel")
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if not (torch.cuda.is_available() or interpreted):
        pytest.skip("neither a CUDA device nor TRITON_INTERPRET=1")
    device = "cpu" if interpreted else "cuda"
    head = make_head(trained, bias).to(device)
    for rule in [PLAIN] if interpreted else [PLAIN, LogitRule(1.0, 5.0)]:
        kernel = fused.liger(rule)
        assert fused.difference(kernel, head, rule, dtype) <= fused.TOLERANCE[dtype]
        hidden = torch.randn(33, 16, device=device, requires_grad=True)
        targets = torch.randint(50, (33,), device=device)
        with torch.autocast(device, dtype=dtype, enabled=dtype != torch.float32):
            got, own = (
                -log_probabilities(hidden, head, targets, rule, summed=True, fused=each)[0] for each in (kernel, None)
            )
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, own, rtol=fused.TOLERANCE[dtype], atol=0)
        wanted = [hidden, *(part for part in head.parameters() if part.requires_grad)]
        for one, other in zip(torch.autograd.grad(got, wanted), torch.autograd.grad(own, wanted), strict=True):
            assert (one - other).norm() <= fused.TOLERANCE[dtype] * other.norm()
