"""A model that lets packed samples see each other is found before the first step, in whatever way it does so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_standins import TinyRun, tiny_config, tiny_llama

from xtune.data.collate import collate
from xtune.distributed.parallel import Parallel
from xtune.errors import ConfigError
from xtune.training.forward import LogProbModel
from xtune.training.probe import refuse_mixed_samples
from xtune.training.train import train_run


def parallel_of(dtype=torch.float32, summed=False, **options):
    module = LogProbModel(tiny_llama(**options), dtype=dtype, summed=summed)
    return Parallel(module, torch.optim.SGD(module.parameters(), lr=0.1), max_grad_norm=None)


def as_it_should_be(attention="sdpa"):
    return lambda packs: collate(packs, pad_id=0, attention=attention)


def with_a_mask(packs):
    """The form that silently joins samples: position ids restart, but a mask of ones is given too."""
    batch = as_it_should_be()(packs)
    return replace(batch, contract="padded", attention_mask_BT=torch.ones_like(batch.input_ids_BT))


def positions_go_on(packs):
    batch = as_it_should_be()(packs)
    return replace(batch, position_ids_BT=torch.arange(batch.input_ids_BT.shape[1])[None])


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_samples_that_are_kept_apart_pass(attention, dtype, summed):
    found = parallel_of(dtype, summed, attn_implementation=attention)
    refuse_mixed_samples(found, as_it_should_be(attention))


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("form", [with_a_mask, positions_go_on])
def test_samples_that_see_each_other_are_refused(form, summed):
    with pytest.raises(ConfigError, match=r"see each other in this model: .* set pack=false"):
        refuse_mixed_samples(parallel_of(summed=summed), form)


def test_every_run_with_packs_is_probed(tmp_path, monkeypatch):
    monkeypatch.setattr("xtune.training.build.collate", lambda packs, **options: positions_go_on(packs))
    with pytest.raises(ConfigError, match="set pack=false"):
        train_run(TinyRun(tiny_config({"name": "full"})), tmp_path)
    assert not list((tmp_path / "checkpoints").glob("step_*"))


def test_the_probe_leaves_no_trace():
    found = parallel_of()
    before = [parameter.clone() for parameter in found.module.parameters()]
    state = torch.random.get_rng_state()
    refuse_mixed_samples(found, as_it_should_be())
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(before, found.module.parameters(), strict=True))
    assert all(np.isfinite(b.detach()).all() for b in found.module.parameters())
