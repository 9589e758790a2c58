"""DPO against the paper's equations, written once more in float64 on sequences that stand alone."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_standins import TinyRun, make_pairs, pair_packs, tiny_config, tiny_llama

from xtune.conversation import IGNORE
from xtune.data.collate import collate
from xtune.data.pack import Pack
from xtune.errors import ConfigError
from xtune.objectives.dpo import Dpo
from xtune.registries import components
from xtune.resolve import make
from xtune.training.forward import LogProbModel
from xtune.training.train import train_run


def log_probability(model, tokens):
    """Of the labelled tokens of one sequence."""
    ids, labels = (torch.from_numpy(part.astype(np.int64)) for part in tokens)
    found = model(input_ids=ids[None]).logits[0, :-1].log_softmax(-1).gather(1, ids[1:, None])[:, 0]
    return found[labels[1:] != IGNORE].sum()


def by_the_paper(policy, base, pairs, beta, smoothing):
    """The sum of the losses (arXiv:2305.18290, equation 7), and the margins of the implicit rewards."""
    total, margins = torch.zeros((), dtype=torch.float64), []
    for chosen, rejected in pairs:
        gains = []
        for tokens in (chosen, rejected):
            with torch.no_grad():
                before = log_probability(base, tokens)
            gains.append(log_probability(policy, tokens) - before)
        margin = beta * (gains[0] - gains[1])
        likely = 1 / (1 + torch.exp(-margin))
        total = total - (1 - smoothing) * torch.log(likely) - smoothing * torch.log(1 - likely)
        margins.append(margin.item())
    return total, margins


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("per_pack", [1, 3])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_gradient_and_metrics_equal_the_paper(smoothing, per_pack, attention):
    policy, base = tiny_llama(attn_implementation=attention), tiny_llama(attn_implementation=attention)
    with torch.no_grad():
        for weight in policy.parameters():
            weight += 0.3 * torch.randn_like(weight)
    samples = make_pairs(7)
    packs = pair_packs(samples, range(7), per_pack)
    exact = copy.deepcopy(policy).double()
    pairs = list(zip(samples[::2], samples[1::2], strict=True))
    expected, margins = by_the_paper(exact, base.double(), pairs, 0.3, smoothing)
    expected.backward()
    before = np.array([[log_probability(base, tokens).item() for tokens in pair] for pair in pairs])

    objective, learner = Dpo(beta=0.3, label_smoothing=smoothing), LogProbModel(policy)
    total, found = 0.0, dict.fromkeys(Dpo.metrics, 0.0)
    for index in range(len(packs)):
        pack = packs[index]._replace(numbers={"reference": before[packs.layout[index]]})
        batch = collate([pack], pad_id=0, attention=attention, sequences=2)
        assert batch.contract == ("padded" if per_pack == 1 else "positions") or len(packs.layout[index]) == 1
        loss, metrics = objective.loss(learner(batch.model_inputs(), batch.labels_BT), batch)
        loss.backward()
        total += loss.item()
        found = {name: value + metrics[name].item() for name, value in found.items()}

    assert total == pytest.approx(expected.item(), rel=1e-5)
    assert found["margin"] == pytest.approx(sum(margins), rel=1e-4)
    assert found["chosen_reward"] - found["rejected_reward"] == pytest.approx(sum(margins), rel=1e-4)
    assert found["accuracy"] == sum(margin > 0 for margin in margins)
    for (name, weight), other in zip(policy.named_parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(weight.grad, other.grad.float(), rtol=1e-3, atol=1e-5, msg=name)


def test_a_batch_without_pairs_has_no_loss_and_still_a_graph():
    batch = collate([pair_packs(make_pairs(2), range(2), 2)[0]], pad_id=0, attention="sdpa", sequences=2)
    idle = batch.idle()
    log_probs = LogProbModel(tiny_llama())(idle.model_inputs(), idle.labels_BT)
    loss, metrics = Dpo().loss(log_probs, replace(idle, numbers={"reference": torch.empty(0, 2)}))
    loss.backward()
    assert (loss.item(), Dpo().weight(idle)) == (0.0, 0) and not any(metrics.values())


@pytest.mark.parametrize(
    "tuning", [{"name": "full"}, {"name": "lora", "rank": 4}, {"name": "lora", "rank": 4, "init": "pissa"}]
)
def test_training_prefers_what_people_prefer(tmp_path, tuning):
    """It begins at the loss of a coin toss, for the model is its own reference then."""
    config = tiny_config(tuning, objective={"name": "dpo", "beta": 0.5}, evaluation={"holdout": 0.2, "every": 4})
    result = train_run(TinyRun(config), tmp_path)
    first, last = result.evaluations[0], result.evaluations[-1]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-4) and first["pairs"] == 6
    assert first["margin"] == pytest.approx(0, abs=1e-4)
    assert result.metrics[-1]["loss"] < result.metrics[0]["loss"] and result.metrics[-1]["margin"] > 0
    assert last["margin"] != 0 and 0 <= last["accuracy"] <= 1 and last["trained"] > last["pairs"]
    assert "perplexity" not in last


def test_options_are_checked(tmp_path):
    config = tiny_config(objective={"name": "dpo", "beta": -1.0})
    with pytest.raises(ConfigError, match="objective dpo"):
        make(config.objective, "objective", components([]).objectives)


def test_a_sequence_sees_nothing_of_its_pair():
    """Sums by sequence are those of the sequences alone, packed or as rows."""
    model, samples = LogProbModel(tiny_llama()).eval(), make_pairs(5)
    alone = []
    for ids, labels in samples:
        batch = collate([Pack(ids, labels, np.array([len(ids)], np.int32))], pad_id=0, attention="sdpa")
        alone.append(model(batch.model_inputs(), batch.labels_BT).sum().item())
    for per_pack in (1, 2, 5):
        packs = pair_packs(samples, range(5), per_pack)
        batch = collate([packs[index] for index in range(len(packs))], pad_id=0, attention="sdpa", sequences=2)
        found = batch.by_sequence(model(batch.model_inputs(), batch.labels_BT))
        assert found.shape == (5, 2) and batch.examples == 5
        assert found.flatten().tolist() == pytest.approx(alone, rel=1e-5)
