"""What the plugin adds, as xtune sees it. It has to be installed: pip install -e ."""

import pytest

import xtune
from xtune.cli import main

ADDED = {
    "models": {"hello_135m"},
    "templates": {"hello"},
    "mappers": {"hello"},
    "strategies": {"hello_norms"},
    "sources": {".hello"},
    "objectives": {"hello_focal"},
    "quantizations": {"hello_nf4"},
    "optimizers": {"hello_momentum"},
    "schedules": {"hello_square"},
    "callbacks": {"hello_clock"},
    "configs": {"hello_demo", "hello_zero1"},
    "commands": {"hello"},
}


@pytest.mark.parametrize("kind", ADDED)
def test_each_kind_is_registered(kind):
    registry = getattr(xtune.components(), kind)
    assert set(registry.added_by("xtune-hello")) == ADDED[kind]


def test_a_row_becomes_text_of_which_the_answer_is_trained():
    conversation = xtune.components().mappers["hello"]({"name": "Ada"})
    spans = xtune.render(conversation, "hello")
    assert "".join(span.text for span in spans) == "User: Say hello to Ada.\nAssistant: Hello, Ada!{eos}\n"
    assert "".join(span.text for span in spans if span.learn) == "Hello, Ada!{eos}"


def test_the_strategy_trains_norms_only():
    from torch import nn

    tuning = xtune.components().strategies["hello_norms"]()
    model = tuning.prepare(nn.ModuleDict({"norm": nn.LayerNorm(2), "linear": nn.Linear(2, 2)}))
    assert [name for name, weight in model.named_parameters() if weight.requires_grad] == ["norm.weight", "norm.bias"]


def test_the_objective_is_cross_entropy_where_gamma_is_zero():
    import torch

    focal = xtune.components().objectives["hello_focal"]
    log_probs = torch.tensor([-0.1, -2.0])
    assert float(focal(gamma=0.0).loss(log_probs, None)[0]) == pytest.approx(2.1)
    assert float(focal().loss(log_probs, None)[0]) < 2.1


def test_the_config_names_what_there_is():
    config = xtune.load_config("hello_demo")
    found = xtune.components()
    assert found.models[config.model.name].path == config.model.path
    assert config.template in found.templates and config.tuning.name in found.strategies
    assert config.objective.name in found.objectives and config.quantization in found.quantizations
    assert config.optimizer.name in found.optimizers and config.schedule.name in found.schedules
    assert config.callbacks[0].name in found.callbacks


def test_a_rehearsal_runs_all_of_it():
    assert main(["rehearse", "hello_demo"]) == 0


def test_the_deepspeed_file_is_a_strategy():
    from xtune.resolve import resolve

    run = resolve(xtune.load_config("hello_demo", ["distributed=hello_zero1"]))
    assert run.distributed.sharded == {"optimizer"}


def test_the_command(capsys):
    assert main(["hello", "--name", "Ada"]) == 0
    assert capsys.readouterr().out == "Hello, Ada!\n"
