"""Optimizers' groups, and schedules against transformers' own."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import get_scheduler

from xtune.checkpoints.state import load_optimizer_state, optimizer_state
from xtune.errors import ConfigError, UnknownName
from xtune.optimizers.optimizer import parameter_groups
from xtune.optimizers.schedule import check_warmup, linear, lr_factor, warmup_length
from xtune.registries import Components

FOUND = Components([])


def build_optimizer(parameters, name, lr):
    groups = parameter_groups(parameters, lr=lr, weight_decay=0.0, lora_plus_ratio=None)
    return FOUND.optimizers[name]().make(groups, lr=lr, betas=(0.9, 0.999), eps=1e-8)


@pytest.mark.parametrize("warmup", [0, 1, 7])
@pytest.mark.parametrize(
    ("name", "theirs", "options"),
    [
        ("cosine", "cosine", {}),
        ("linear", "linear", {}),
        ("constant", "constant_with_warmup", {}),
        ("cosine", "cosine_with_min_lr", {"min_lr_rate": 0.1}),
    ],
)
def test_schedules_are_those_of_transformers(name, theirs, options, warmup):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = get_scheduler(theirs, optimizer, warmup, 40, scheduler_specific_kwargs=options)
    for step in range(40):
        ours = lr_factor(
            step, shape=FOUND.schedules[name], warmup=warmup, total=40, floor=options.get("min_lr_rate", 0.0)
        )
        assert ours == pytest.approx(reference.get_last_lr()[0], abs=1e-12), step
        optimizer.step()
        reference.step()


def test_linear_ends_at_the_floor():
    assert lr_factor(40, shape=linear, warmup=0, total=40, floor=0.25) == 0.25


def test_warmup_by_ratio_or_by_steps():
    assert warmup_length(101, 0.03, None) == 4
    assert warmup_length(100, 0.5, 7) == 7
    assert warmup_length(5, 0.0, 7) == 4
    assert warmup_length(1, 0.03, None) == 0  # a run of one step trains


@pytest.mark.parametrize(("total", "steps"), [(50, 100), (50, 50), (1, 1)])
def test_a_warmup_that_fills_the_run_is_refused(total, steps):
    with pytest.raises(
        ConfigError, match=f"schedule.warmup_steps .*: got `{steps}`, the run has `{total}` steps; .*warmup_ratio"
    ):
        check_warmup(total, steps)
    check_warmup(total, None)
    check_warmup(steps + 1, steps)


class Adapter(nn.Module):
    def __init__(self):
        super().__init__()
        self.lora_A, self.lora_B = nn.Linear(4, 2, bias=False), nn.Linear(2, 4, bias=False)
        self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, 4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)


def test_decay_spares_vectors_and_lora_plus_raises_b():
    model = Adapter()
    groups = parameter_groups(model.named_parameters(), lr=1e-3, weight_decay=0.1, lora_plus_ratio=16.0)
    found = {id(p): (group["lr"], group["base_lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert found[id(model.lora_A.weight)] == (1e-3, 1e-3, 0.1)
    assert found[id(model.lora_B.weight)] == (16e-3, 16e-3, 0.1)
    assert found[id(model.norm.weight)] == found[id(model.head.bias)] == (1e-3, 1e-3, 0.0)
    assert id(model.frozen.weight) not in found and len(found) == 6


@pytest.mark.parametrize("name", ["adamw", "adafactor", "paged_adamw_32bit", "paged_adamw_8bit", "adamw_8bit"])
def test_every_name_trains_here(name, caplog):
    caplog.set_level("INFO", logger="xtune")
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = build_optimizer(model.named_parameters(), name=name, lr=0.05)
    inputs, wanted = torch.randn(32, 4), torch.randn(32, 1)
    losses = []
    for _ in range(20):
        loss = (model(inputs) - wanted).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    fell_back = "optimizer: falling back to adamw: " in caplog.text and "needs a CUDA device" in caplog.text
    assert fell_back == (name not in ("adamw", "adafactor") and not torch.cuda.is_available())


def test_what_cannot_be_optimized():
    model = Adapter()
    with pytest.raises(UnknownName, match="unknown optimizer: got `adamv`; did you mean adamw"):
        build_optimizer(model.named_parameters(), name="adamv", lr=1e-3)
    with pytest.raises(ConfigError, match=r"nothing is trained: .* check tuning.targets"):
        build_optimizer(nn.Linear(2, 2).requires_grad_(False).named_parameters(), name="adamw", lr=1e-3)


def test_what_fsdp_has_sharded_is_not_for_bitsandbytes(monkeypatch, caplog):
    """Its operators know no DTensor; the class stands for one here, as real ones need a process group."""
    caplog.set_level("INFO", logger="xtune")
    monkeypatch.setattr("torch.distributed.tensor.DTensor", nn.Parameter)
    made = build_optimizer(nn.Linear(4, 2).named_parameters(), name="paged_adamw_32bit", lr=1e-3)
    assert type(made) is torch.optim.AdamW
    assert "falling back to adamw: PagedAdamW32bit takes no weights that FSDP has sharded" in caplog.text


def test_paged_state_is_paged_again_after_a_resume():
    """bitsandbytes keeps it in memory that it made itself; a plain tensor would be moved to the GPU for good."""
    buffer = torch.zeros(3)

    class Paged(torch.optim.SGD):
        is_paged = True

        def get_state_buffer(self, parameter, dtype):
            assert parameter is weight and dtype == torch.float32
            return buffer

    weight = nn.Parameter(torch.zeros(3))
    optimizer = Paged([weight], lr=1.0)
    optimizer.state[weight] = {"state1": torch.ones(3), "step": 4}
    tensors, facts = optimizer_state(optimizer, [weight])
    optimizer.state.clear()
    load_optimizer_state(optimizer, [weight], tensors, facts)
    assert optimizer.state[weight]["state1"] is buffer and buffer.tolist() == [1, 1, 1]
    assert optimizer.state[weight]["step"] == 4
