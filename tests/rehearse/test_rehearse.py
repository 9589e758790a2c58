"""Rehearsals: a set of configs that covers every component, each stage's result, and what is said of mistakes."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import unused
from covering import cover, identity, traits

from xtune.callbacks.report import ReportCallback
from xtune.catalogue.compose import compose
from xtune.catalogue.names import parse
from xtune.catalogue.points import points
from xtune.cli import main
from xtune.config.override import apply_overrides
from xtune.config.validate import validate
from xtune.errors import ConfigError, XtuneError
from xtune.models.spec import ModelSpec
from xtune.registries import components
from xtune.rehearse.rehearse import rehearse
from xtune.rehearse.small_config import make_small
from xtune.resolve import resolve

MODELS = components([]).models
YOURS = "internlm_7b_qlora_json_e3"
POINTS = {**points(MODELS), YOURS: parse(YOURS)}
BASE = "smollm2_135m_instruct_lora_alpaca_e3"
STAGES = ["resolve", "make small", "prepare data", "load model", "train", "resume", "convert", "merge", "chat"]


def config_of(name, **changes):
    """The catalogue's config, without reading its file."""
    values = compose(POINTS[name], MODELS[POINTS[name].model])
    if name == YOURS:
        values["data"][0]["path"] = "mine.json"
    return validate(apply_overrides(values, {key.replace("__", "."): value for key, value in changes.items()}), name)


def covering():
    configs = {name: config_of(name) for name in POINTS}
    return cover({name: traits(config, MODELS[config.model.name]) for name, config in configs.items()})


COVERING = covering()


@pytest.fixture(autouse=True)
def without_report(monkeypatch):
    """The report of a run has tests of its own, and drawing it takes as long as the rest of a rehearsal."""
    monkeypatch.setattr(ReportCallback, "ended", lambda self, reason: None)


def test_the_covering_set_has_every_component():
    found = set().union(*(traits(config_of(name), MODELS[POINTS[name].model]) for name in COVERING))
    assert {name for axis, name in found if axis == "family"} == {spec.family for spec in MODELS.values()}
    assert {name for axis, name in found if axis == "architecture"} == {s.config["model_type"] for s in MODELS.values()}
    assert {name for axis, name in found if axis == "tuning"} == {"full", "lora", "qlora", "int8_lora"}
    for axis, registry, left_out in (
        ("mapper", components([]).mappers, unused.MAPPERS),
        ("template", components([]).templates, unused.TEMPLATES),
    ):
        assert {name for kind, name in found if kind == axis} == set(registry) - set(left_out)


@pytest.mark.parametrize("name", COVERING)
def test_a_config_goes_through_every_stage(name):
    done = rehearse(config_of(name))
    adapter = config_of(name).tuning.name != "full"
    assert [stage.name for stage in done.stages] == [name for name in STAGES if adapter or name != "merge"]


@pytest.mark.parametrize(
    "changes",
    [
        {"distributed": "single"},
        {"distributed": "ddp"},
        {"distributed": "fsdp"},
        {"distributed": "deepspeed_zero3"},  # one of them: DeepSpeed keeps groups that are gone, for a whole process
        {"evaluation__holdout": 0.3, "checkpoint__best": True, "deduplicate": True},
        {"data__0__mapper": "default"},
        {"data__0__mapper": "sharegpt"},
        {"data__0__path": "no/such.xlsx", "data__0__mapper": "medical", "data__0__options": {"question": "问题"}},
        {"model__attention": "flash_attention_2", "train__compile": True},
        {"model__dtype": "bfloat16", "train__neftune_alpha": 5.0, "optimizer__lora_plus_ratio": 4.0},
    ],
    ids=str,
)
def test_other_settings_are_rehearsed(changes):
    assert [stage.name for stage in rehearse(config_of(BASE, **changes)).stages] == STAGES


def test_what_is_replaced_and_what_is_not_checked(monkeypatch):
    monkeypatch.setenv("XTUNE_CACHE", "/nowhere")
    done = rehearse(config_of(BASE, model__attention="flash_attention_2", train__compile=True))
    assert done.replaced[0] == "rows of tatsu-lab/alpaca: 24 as mapper alpaca documents them"
    assert done.replaced[1].startswith("tokenizer: one of ")
    assert done.replaced[2] == "weights of HuggingFaceTB/SmolLM2-135M-Instruct: random ones, same architecture (llama)"
    assert done.replaced[-1] == "train.compile: off"
    assert done.not_checked[:2] == ["the rows of tatsu-lab/alpaca", "the model's tokenizer"]
    assert os.environ["XTUNE_CACHE"] == "/nowhere"


def test_what_is_at_hand_is_used(tmp_path, tiny_model):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"instruction": f"Say {n}.", "output": f"{n} it is"}) + "\n" for n in range(40)))
    told = {}
    config = config_of(BASE, data__0__path=str(rows), data__0__mapper="auto", model__path=str(tiny_model))
    done = rehearse(config, lambda stage: told.update({stage.name: stage.outcome}))
    assert f"rows of {rows}: the first 24" in done.replaced
    assert told["prepare data"].startswith("24 rows read, 24 trained")
    assert not any("tokenizer" in line for line in done.replaced + done.not_checked)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"template": "chatlm"},
            "the rehearsal fails at the stage resolve: unknown template: got `chatlm`; did you",
        ),
        (
            {"data__0__mapper": "auto"},
            "the rehearsal fails at the stage make small: data tatsu-lab/alpaca cannot be rehearsed with mapper=auto: "
            "got no rows on this machine to choose by; name the mapper, or give a local file",
        ),
        (
            {"data__0__mapper": "json:loads"},
            "the rehearsal fails at the stage make small: mapper json:loads documents no row: got no example in its "
            "docstring; write one there (>>> mapper({...})), or point data.path at a file",
        ),
        ({"tuning__targets": ["no_proj"]}, "the rehearsal fails at the stage resolve: tuning.targets names no layer"),
        ({"model__dtype": "float16"}, "the rehearsal fails at the stage resolve: model.dtype=float16 cannot be"),
    ],
)
def test_a_mistake_names_the_stage(changes, message):
    with pytest.raises(XtuneError) as error:
        rehearse(config_of(BASE, **changes))
    assert str(error.value).startswith(message)


def test_a_model_without_sizes_is_told(tmp_path):
    run = resolve(config_of(BASE))
    spec = ModelSpec(path="a/b", family="f", template="chatml", context=9, licence="", parameters=1)
    with pytest.raises(ConfigError) as error:
        make_small(replace(run, model=spec), tmp_path)
    assert str(error.value) == (
        "model smollm2_135m_instruct cannot be rehearsed: got no config in its ModelSpec; give it its sizes"
    )


def test_deepspeed_is_replaced_where_it_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr("xtune.rehearse.small_config.find_spec", lambda name: None)
    small = make_small(resolve(config_of(BASE, distributed="deepspeed_zero2")), tmp_path)
    assert small.config.distributed == "single" and "DeepSpeed" in small.not_checked
    assert "DeepSpeed, which is not installed: one process without it" in small.replaced


def test_any_other_error_names_the_stage_too(monkeypatch):
    monkeypatch.setattr("xtune.rehearse.rehearse.merge", lambda *paths: 1 / 0)
    with pytest.raises(ZeroDivisionError) as error:
        rehearse(config_of(BASE))
    assert error.value.__notes__ == ["The rehearsal fails at the stage merge."]


@pytest.mark.parametrize("command", [["rehearse"], ["train", "--rehearse"]])
def test_the_command_tells_every_stage(command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([command[0], BASE, *command[1:]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[: len(STAGES)]] == STAGES
    assert lines[len(STAGES)].startswith("all stages") and {"replaced:", "not checked:"} <= set(lines)
    assert list(Path(tmp_path).iterdir()) == []


def test_the_command_tells_a_mistake(capsys):
    assert main(["rehearse", BASE, "--cfg-options", "data.0.mapper=auto"]) == 2
    assert "xtune: error: the rehearsal fails at the stage make small: data " in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_every_config_that_differs_in_small():
    seen = {}
    for name in POINTS:
        config = config_of(name)
        seen.setdefault(identity(config, MODELS[config.model.name]), config)
    failed = []
    for config in seen.values():
        try:
            rehearse(config)
        except Exception as error:
            failed.append(f"{config.model.name} {config.tuning.name}: {error}")
    assert failed == []
