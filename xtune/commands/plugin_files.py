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
"*" = ["*.jsonl", "*.$short", "*.json"]
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
| `objective.py` | what is learned from a row |
| `quantization.py` | a way to hold the weights of the base |
| `optimizer.py` | an optimizer, and a schedule of its learning rate |
| `callback.py` | what watches a run |
| `source.py` | a reader of files, by suffix |
| `command.py` | a subcommand of xtune |
| `configs/` | configs and DeepSpeed files, each named as in `xtune list-cfg` |
| `rows.jsonl`, `names.$short` | the rows that `${short}_demo` trains on |
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
def register_sources(sources):
    from $package.source import read_names

    sources.add(".$short", read_names)


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
def register_quantizations(quantizations):
    from $package.quantization import Spared

    quantizations.add("${short}_nf4", Spared)


@hookimpl
def register_optimizers(optimizers):
    from $package.optimizer import Momentum

    optimizers.add("${short}_momentum", Momentum)


@hookimpl
def register_schedules(schedules):
    from $package.optimizer import square

    schedules.add("${short}_square", square)


@hookimpl
def register_callbacks(callbacks):
    from $package.callback import Clock

    callbacks.add("${short}_clock", Clock)


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
"""What is learned from a row. Its fields are its options."""

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

QUANTIZATION = '''\
"""A way to hold the weights of the base model. Its fields are its options."""

from pydantic import Field

from xtune.quantization.bits import Nf4


class Spared(Nf4):
    """4 bits of the type NormalFloat, but for the layers that it spares."""

    spared: list[str] = Field(default=["lm_head"], description="what the names of layers that stay whole have in them")

    def load_options(self, compute_dtype):
        options = super().load_options(compute_dtype)
        options.llm_int8_skip_modules = self.spared
        return options
'''

OPTIMIZER = '''\
"""An optimizer, whose fields are its options, and a schedule."""

from typing import ClassVar

from pydantic import Field

from xtune import Optimizer


class Momentum(Optimizer):
    """Stochastic gradient descent with momentum."""

    momentum: float = Field(default=0.9, ge=0, lt=1, description="share of the last step that the next one keeps")

    state_bytes: ClassVar[float] = 4.0

    def make(self, groups, *, lr, betas, eps):
        import torch

        return torch.optim.SGD(groups, lr=lr, momentum=self.momentum)


def square(progress):
    """A parabola from 1 to 0."""
    return (1 - progress) ** 2
'''

CALLBACK = '''\
"""What watches a run. Its fields are its options."""

from pydantic import Field

from xtune import Callback


class Clock(Callback):
    """Writes the seconds that each step took to clock.txt in the work dir."""

    digits: int = Field(default=3, ge=0, description="decimals of a second")

    def started(self, facts):
        self.file = facts.work_dir / "clock.txt"

    def stepped(self, row):
        with self.file.open("a", encoding="utf-8") as file:
            file.write(f"{row['step']} {row['seconds']:.{self.digits}f}\\n")
'''

SOURCE = '''\
"""A reader of files that end in .$short, or in .$short.gz."""

from xtune.sources.row import Row
from xtune.sources.text import open_bytes


def read_names(file, label):
    """A row {"name": line} for each line."""
    with open_bytes(file, label) as opened:
        for number, line in enumerate(opened, 1):
            yield Row({"name": line.decode().strip()}, f"{label}, line {number}")
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
quantization = "${short}_nf4"
tuning = dict(name="${short}_norms")
data = [
    dict(path="package:$package/rows.jsonl", mapper="$short", options=dict(name="name")),
    dict(path="package:$package/names.$short", mapper="$short"),
]
max_length = 128
optimizer = dict(name="${short}_momentum", lr=1e-3)
schedule = dict(name="${short}_square")
callbacks = [dict(name="${short}_clock", digits=2)]
train = dict(batch_size=2, epochs=2)
'''

NAMES = """\
Alan
Barbara
"""

DEEPSPEED = """\
{
  "zero_optimization": {"stage": 1}
}
"""

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
    "sources": {".$short"},
    "objectives": {"${short}_focal"},
    "quantizations": {"${short}_nf4"},
    "optimizers": {"${short}_momentum"},
    "schedules": {"${short}_square"},
    "callbacks": {"${short}_clock"},
    "configs": {"${short}_demo", "${short}_zero1"},
    "commands": {"$short"},
}


@pytest.mark.parametrize("kind", ADDED)
def test_each_kind_is_registered(kind):
    registry = getattr(xtune.components(), kind)
    assert set(registry.added_by("$name")) == ADDED[kind]


def test_a_row_becomes_text_of_which_the_answer_is_trained():
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
    assert config.objective.name in found.objectives and config.quantization in found.quantizations
    assert config.optimizer.name in found.optimizers and config.schedule.name in found.schedules
    assert config.callbacks[0].name in found.callbacks


def test_a_rehearsal_runs_all_of_it():
    assert main(["rehearse", "${short}_demo"]) == 0


def test_the_deepspeed_file_is_a_strategy():
    from xtune.resolve import resolve

    run = resolve(xtune.load_config("${short}_demo", ["distributed=${short}_zero1"]))
    assert run.distributed.sharded == {"optimizer"}


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
    "$package/quantization.py": QUANTIZATION,
    "$package/optimizer.py": OPTIMIZER,
    "$package/callback.py": CALLBACK,
    "$package/source.py": SOURCE,
    "$package/command.py": COMMAND,
    "$package/rows.jsonl": ROWS,
    "$package/names.$short": NAMES,
    "$package/configs/${short}_zero1.json": DEEPSPEED,
    "$package/configs/${short}_demo.py": CONFIG,
    "tests/test_$package.py": TEST,
}
"""Paths below the new folder to their texts."""
