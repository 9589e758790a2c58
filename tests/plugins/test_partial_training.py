"""A strategy of a plugin that trains a part of the weights: its checkpoints are whole models nevertheless."""

import json

import pytest

import xtune
from xtune.config.validate import validate
from xtune.dist import launch
from xtune.plugins.checks import Plugin
from xtune.registries import Components
from xtune.resolve import resolve
from xtune.training.train import train_run


class Norms(xtune.Tuning):
    def prepare(self, model):
        for name, weight in model.named_parameters():
            weight.requires_grad_("norm" in name)
        return model


class NormsPlugin:
    @xtune.hookimpl
    def register_strategies(self, strategies):
        strategies.add("norms", Norms)


@pytest.fixture
def result(tmp_path, tiny_model):
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([{"instruction": f"question {i}", "input": "", "output": "answer"} for i in range(4)]))
    values = {
        "model": {"name": "smollm2_135m_instruct", "path": str(tiny_model)},
        "template": "chatml",
        "tuning": {"name": "norms"},
        "data": [{"path": str(rows), "mapper": "alpaca"}],
        "max_length": 256,
        "optimizer": {"lr": 1e-2},
    }
    run = resolve(validate(values, "test"), Components([Plugin("xtune-norms", "1", NormsPlugin())]))
    with launch.process_group(needed=False):
        return train_run(run, tmp_path / "run")


def test_a_checkpoint_holds_the_weights_that_were_not_trained_too(result, tiny_model):
    before = xtune.load_model(tiny_model, dtype="float32").state_dict()
    after = xtune.load_model(result.checkpoint, dtype="float32").state_dict()
    changed = {name for name, weight in after.items() if not weight.equal(before[name])}
    assert changed == {name for name in before if "norm" in name}
