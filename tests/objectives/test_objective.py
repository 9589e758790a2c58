"""What any objective can rely on, tried with some of a plugin's kind."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest
import torch
from engine_standins import TinyRun, tiny_config, weights_of

import xtune
from xtune.config.validate import validate
from xtune.errors import ConfigError
from xtune.objectives.objective import Objective
from xtune.objectives.sft import Sft
from xtune.resolve import resolve
from xtune.training.train import train_run


class TokenByToken(Objective):
    """sft, from the log-probability of each label, and with a metric."""

    unit: ClassVar[str] = "trained"
    metrics: ClassVar[tuple[str, ...]] = ("surprise",)

    def loss(self, log_probs, batch):
        assert log_probs.shape == (batch.trained,)
        return -log_probs.sum(), {"surprise": -log_probs.detach().sum()}

    def weight(self, batch):
        return batch.trained


class Scored(Objective):
    head: ClassVar[str] = "scalar"


class WithObjective(TinyRun):
    @property
    def objective(self):
        return TokenByToken()


@pytest.mark.parametrize("tuning", [{"name": "full"}, {"name": "lora", "rank": 4}], ids=["full", "lora"])
def test_log_probabilities_train_as_their_sum_does(tmp_path, tuning):
    """With a head that is trained, too, whose gradient is then made in backward."""
    config = tiny_config(tuning, evaluation={"holdout": 0.2, "every": 4})
    summed = train_run(TinyRun(config), tmp_path / "sft")
    single = train_run(WithObjective(config), tmp_path / "tokens")
    for got, wanted in zip(single.metrics, summed.metrics, strict=True):
        assert got["loss"] == pytest.approx(wanted["loss"], rel=1e-5) == pytest.approx(got["surprise"], rel=1e-6)
        assert got["grad_norm"] == pytest.approx(wanted["grad_norm"], rel=1e-4)
        assert (got["trained"], got["learnt"], got["tokens"]) == (wanted["trained"],) * 2 + (wanted["tokens"],)
    for got, wanted in zip(single.evaluations, summed.evaluations, strict=True):
        assert got["loss"] == pytest.approx(wanted["loss"], rel=1e-5) == pytest.approx(got["surprise"], rel=1e-6)
        assert "perplexity" in wanted and "perplexity" not in got
    expected = weights_of(summed.checkpoint)
    for name, weight in weights_of(single.checkpoint).items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-3, atol=1e-4, msg=name)


def test_the_objectives_of_a_plugin_are_found_by_name(tiny_model, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"instruction": "Who?", "output": "Me."}))
    values = {
        "model": {"name": "smollm2_135m", "path": str(tiny_model)},
        "template": "chatml",
        "tuning": {"name": "full"},
        "data": [{"path": str(file)}],
    }
    found = xtune.components([])
    found.objectives.add("tokens", TokenByToken)
    found.objectives.add("scored", Scored)

    def run(name):
        return resolve(validate({**values, "objective": {"name": name}}, "test"), found)

    assert isinstance(run("tokens").objective, TokenByToken)
    assert isinstance(resolve(validate(values, "test"), found).objective, Sft)
    with pytest.raises(ConfigError, match=r"needs a head of one number.*; set objective.name=sft or dpo"):
        run("scored")
    with pytest.raises(xtune.XtuneError, match="token"):
        run("tokns")

    trained = {name: run(name).prepare_data().report.trained_tokens for name in ("sft", "pretrain")}
    tokens = run("sft").prepare_data().report.tokens
    assert trained["sft"] < trained["pretrain"] == tokens - 1  # nothing predicts the first token
