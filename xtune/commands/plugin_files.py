"""The files that `xtune new-plugin` writes, as string.Template texts.

$name is the distribution, $package its module, $short what its components are called.
"""

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "$name"
version = "0.1.0"
description = "A plugin for xtune"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["xtune>=$version"]

[project.entry-points.xtune]
$package = "$package"

[tool.setuptools.packages.find]
include = ["$package*"]

[tool.setuptools.package-data]
$package = ["*.jsonl"]
"""

README = """\
# $name

A plugin for xtune. It adds one component of each kind; delete those that you do not need.

    pip install -e .
    xtune plugins
    python -m pytest
    xtune rehearse ${short}_demo
    xtune train ${short}_demo

`$package/__init__.py` says what is added. The rest of the package is what it adds:

| file | what |
| --- | --- |
| `mapper.py` | a function from a row to a conversation |
| `strategy.py` | a way to tune the weights |
| `objective.py` | what is learnt from a row |
| `command.py` | a subcommand of xtune |
| `configs/` | configs, each a file named as the config |
| `rows.jsonl` | the rows that `${short}_demo` trains on |
"""

PLUGIN = '''\
"""What this plugin adds to xtune. Every command imports this file: what is slow to import stays in the functions."""

from xtune import ChatTemplate, ModelSpec, hookimpl
from xtune.models.spec import sizes


@hookimpl
def register_models(models):
    path = "HuggingFaceTB/SmolLM2-135M-Instruct"
    shape = sizes("llama", hidden=576, layers=30, heads=9, kv_heads=3, intermediate=1536, vocab=49152, tied=True)
    facts = {"family": "$short", "context": 8192, "licence": "Apache-2.0", "config": shape}
    models.add("${short}_135m", ModelSpec(path=path, template="$short", **facts))


@hookimpl
def register_templates(templates):
    templates.add("$short", ChatTemplate(user="User: {text}\\n", assistant="Assistant: ", tail="\\n"))


@hookimpl
def register_mappers(mappers):
    from $package.mapper import $short

    mappers.add("$short", $short)


@hookimpl
def register_strategies(strategies):
    from $package.strategy import OnlyNorms

    strategies.add("${short}_norms", OnlyNorms)


@hookimpl
def register_objectives(objectives):
    from $package.objective import Focal

    objectives.add("${short}_focal", Focal)


@hookimpl
def register_configs(configs):
    configs.add_package("$package.configs")


@hookimpl
def register_commands(commands):
    from $package import command

    commands.add("$short", command)
'''

MAPPER = '''\
"""Rows to conversations."""

from collections.abc import Mapping
from typing import Any

from xtune import Conversation, Turn
from xtune.mappers.columns import text


def $short(row: Mapping[str, Any], *, name: str = "name") -> Conversation:
    """A person and the greeting for that person. What follows the star are options, set in a config.

    >>> $short({"name": "Ada"}).turns
    (Turn(role='user', text='Say hello to Ada.', learn=None), Turn(role='assistant', text='Hello, Ada!', learn=None))
    """
    person = text(row, name)
    return Conversation((Turn("user", f"Say hello to {person}."), Turn("assistant", f"Hello, {person}!")))
'''

STRATEGY = '''\
"""A way to tune weights. Its fields are its options."""

from pydantic import Field

from xtune import Tuning


class OnlyNorms(Tuning):
    """Trains the weights of the normalisation layers and nothing else (arXiv:2312.11420)."""

    part: str = Field(default="norm", description="what the names of the trained weights have in them")

    def prepare(self, model):
        for name, weight in model.named_parameters():
            weight.requires_grad_(self.part in name)
        return model
'''

OBJECTIVE = '''\
"""What is learnt from a row. Its fields are its options."""

from typing import ClassVar

from pydantic import Field

from xtune import Objective


class Focal(Objective):
    """Cross entropy in which tokens that the model is sure of count less (arXiv:1708.02002)."""

    gamma: float = Field(default=1.0, ge=0, description="how much less; 0 is plain cross entropy")

    unit: ClassVar[str] = "trained"

    def loss(self, log_probs, batch):
        return -((1 - log_probs.exp()) ** self.gamma * log_probs).sum(), {}

    def weight(self, batch):
        return batch.trained
'''

COMMAND = '''\
"""xtune $short: says hello."""

from argparse import ArgumentParser, Namespace

HELP = "say hello"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--name", default="world", help="whom to greet")


def run(args: Namespace) -> int:
    print(f"Hello, {args.name}!")
    return 0
'''

CONFIG = '''\
"""Two epochs over the rows of this package. What is not written here has its default: xtune show-cfg ${short}_demo."""

model = dict(name="${short}_135m", path="HuggingFaceTB/SmolLM2-135M-Instruct")
template = "$short"
objective = dict(name="${short}_focal")
tuning = dict(name="${short}_norms")
data = [dict(path="package:$package/rows.jsonl", mapper="$short", options=dict(name="name"))]
max_length = 128
optimizer = dict(name="adamw", lr=1e-3)
train = dict(batch_size=2, epochs=2)
'''

ROWS = """\
{"name": "Ada"}
{"name": "Grace"}
{"name": "王小云"}
{"name": "Emmy"}
"""

TEST = '''\
"""What the plugin adds, as xtune sees it. It has to be installed: pip install -e ."""

import pytest

import xtune
from xtune.cli import main

ADDED = {
    "models": {"${short}_135m"},
    "templates": {"$short"},
    "mappers": {"$short"},
    "strategies": {"${short}_norms"},
    "objectives": {"${short}_focal"},
    "configs": {"${short}_demo"},
    "commands": {"$short"},
}


@pytest.mark.parametrize("kind", ADDED)
def test_each_kind_is_registered(kind):
    registry = getattr(xtune.components(), kind)
    assert set(registry.added_by("$name")) == ADDED[kind]


def test_a_row_becomes_text_of_which_the_answer_is_learnt():
    conversation = xtune.components().mappers["$short"]({"name": "Ada"})
    spans = xtune.render(conversation, "$short")
    assert "".join(span.text for span in spans) == "User: Say hello to Ada.\\nAssistant: Hello, Ada!{eos}\\n"
    assert "".join(span.text for span in spans if span.learn) == "Hello, Ada!{eos}"


def test_the_strategy_trains_norms_only():
    from torch import nn

    tuning = xtune.components().strategies["${short}_norms"]()
    model = tuning.prepare(nn.ModuleDict({"norm": nn.LayerNorm(2), "linear": nn.Linear(2, 2)}))
    assert [name for name, weight in model.named_parameters() if weight.requires_grad] == ["norm.weight", "norm.bias"]


def test_the_objective_is_cross_entropy_where_gamma_is_zero():
    import torch

    focal = xtune.components().objectives["${short}_focal"]
    log_probs = torch.tensor([-0.1, -2.0])
    assert float(focal(gamma=0.0).loss(log_probs, None)[0]) == pytest.approx(2.1)
    assert float(focal().loss(log_probs, None)[0]) < 2.1


def test_the_config_names_what_there_is():
    config = xtune.load_config("${short}_demo")
    found = xtune.components()
    assert found.models[config.model.name].path == config.model.path
    assert config.template in found.templates and config.tuning.name in found.strategies
    assert config.objective.name in found.objectives


def test_the_command(capsys):
    assert main(["$short", "--name", "Ada"]) == 0
    assert capsys.readouterr().out == "Hello, Ada!\\n"
'''

FILES = {
    "pyproject.toml": PYPROJECT,
    "README.md": README,
    "$package/__init__.py": PLUGIN,
    "$package/mapper.py": MAPPER,
    "$package/strategy.py": STRATEGY,
    "$package/objective.py": OBJECTIVE,
    "$package/command.py": COMMAND,
    "$package/rows.jsonl": ROWS,
    "$package/configs/${short}_demo.py": CONFIG,
    "tests/test_$package.py": TEST,
}
"""Paths below the new folder to their texts."""
