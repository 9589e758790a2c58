"""An adapter is only put on the weights that it was trained on: resumed, merged and chatted with."""

from __future__ import annotations

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

import xtune
from xtune.checkpoints.checkpoint import find_checkpoint
from xtune.cli import main
from xtune.config.validate import validate
from xtune.errors import ModelError
from xtune.export.merge import merge
from xtune.export.pth_to_hf import pth_to_hf
from xtune.generate.open import open_session
from xtune.registries import components

OTHER = "was trained on other weights: on .*, got .*; give that model, or go on all the same with --other-base"


def config(model, rows, tuning, steps):
    return validate(
        {
            "model": {"name": "smollm2_135m_instruct", "path": str(model)},
            "template": "chatml",
            "tuning": tuning,
            "data": [{"path": str(rows), "mapper": "alpaca"}],
            "max_length": 256,
            "train": {"max_steps": steps},
        },
        "test",
    )


@pytest.fixture(scope="module")
def bases(tiny_model, tmp_path_factory):
    """A model, the same one at another place, and one of its shape with other weights."""
    place = tmp_path_factory.mktemp("bases")
    moved, other = shutil.copytree(tiny_model, place / "moved"), shutil.copytree(tiny_model, place / "other")
    weights = load_file(other / "model.safetensors")
    weights["model.norm.weight"] += 0.01
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    return tiny_model, moved, other


@pytest.mark.parametrize("tuning", [{"name": "lora", "rank": 4}, {"name": "full"}], ids=["lora", "full"])
def test_a_run_goes_on_on_the_weights_that_it_began_on(bases, rows, tmp_path, tuning, caplog):
    base, moved, other = bases
    xtune.train(config(base, rows, tuning, 1), tmp_path)
    record = json.loads((find_checkpoint(tmp_path) / "xtune_run.json").read_text())["base"]
    assert record["path"] == str(base)
    xtune.train(config(moved, rows, tuning, 2), tmp_path, "auto")
    if tuning["name"] == "full":  # nothing of the base is left in what is trained
        xtune.train(config(other, rows, tuning, 3), tmp_path, "auto")
        return
    with pytest.raises(ModelError, match=OTHER):
        xtune.train(config(other, rows, tuning, 3), tmp_path, "auto")
    assert find_checkpoint(tmp_path).name == "step_2"
    caplog.clear()
    xtune.train(config(other, rows, tuning, 3), tmp_path, "auto", other_base=True)
    assert "was trained on other weights" in caplog.text
    again = json.loads((find_checkpoint(tmp_path) / "xtune_run.json").read_text())["base"]
    assert again["path"] == str(other) and again["digest"] != record["digest"]


@pytest.fixture(scope="module")
def adapters(bases, rows, tmp_path_factory):
    """A checkpoint, and the adapter that was made of it."""
    settings, place = config(bases[0], rows, {"name": "lora", "rank": 4}, 1), tmp_path_factory.mktemp("adapters")
    xtune.train(settings, place / "run")
    return [pth_to_hf(settings, place / "run", place / "adapter"), place / "adapter"]


@pytest.mark.parametrize("which", [0, 1], ids=["checkpoint", "adapter"])
def test_an_adapter_is_put_on_the_weights_that_it_was_trained_on(bases, adapters, tmp_path, which, caplog, capsys):
    base, moved, other = map(str, bases)
    adapter = str(adapters[which])
    for good in (base, moved):
        merge(good, adapter, tmp_path / "out", force=True)
        open_session(good, components([]), adapter=adapter)
    with pytest.raises(ModelError, match=OTHER):
        merge(other, adapter, tmp_path / "not")
    assert not (tmp_path / "not").exists()
    with pytest.raises(ModelError, match=OTHER):
        open_session(other, components([]), adapter=adapter)
    assert "other weights" not in caplog.text
    assert main(["convert", "merge", other, adapter, str(tmp_path / "not"), "--other-base"]) == 0
    assert main(["chat", other, "--adapter", adapter, "--prompt", "a", "--max-new-tokens", "1", "--other-base"]) == 0
    assert main(["chat", other, "--adapter", adapter, "--prompt", "a", "--max-new-tokens", "1"]) == 2
    assert "was trained on other weights" in capsys.readouterr().err


def test_an_adapter_of_others_is_taken_as_it_comes(bases, adapters, tmp_path):
    theirs = shutil.copytree(adapters[1], tmp_path / "theirs")
    (theirs / "xtune_base.json").unlink()
    merge(str(bases[2]), theirs, tmp_path / "out")


def test_the_model_beside_which_an_adapter_was_trained_may_have_changed(bases, adapters, tmp_path):
    """The path that the adapter names is no proof."""
    copy, there = shutil.copytree(adapters[1], tmp_path / "copy"), tmp_path / "base"
    shutil.copytree(bases[2], there)
    settings = json.loads((copy / "adapter_config.json").read_text()) | {"base_model_name_or_path": str(there)}
    (copy / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=OTHER):
        open_session(str(copy), components([]))
