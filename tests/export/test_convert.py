"""From a run to a model that plain peft and transformers load: what comes out is what was trained."""

import json
import shutil

import pytest
import torch

import xtune
from xtune.config.validate import validate
from xtune.errors import CheckpointError, ConfigError, ModelError, XtuneError
from xtune.export.merge import merge
from xtune.export.pth_to_hf import pth_to_hf
from xtune.generate.open import open_session
from xtune.registries import components


def config(tiny_model, rows, tuning):
    return validate(
        {
            "model": {"name": "smollm2_135m_instruct", "path": str(tiny_model)},
            "template": "chatml",
            "tuning": tuning,
            "data": [{"path": str(rows), "mapper": "alpaca"}],
            "max_length": 256,
            "optimizer": {"lr": 3e-3},
            "train": {"max_steps": 3},
        },
        "test",
    )


@pytest.fixture(scope="module", params=["lora", "qlora", "int8_lora", "full"])
def trained(request, tiny_model, rows, tmp_path_factory):
    """(name of the tuning, config, work dir) of a run of three steps."""
    options = {} if request.param == "full" else {"rank": 4, "dropout": 0.0}
    settings = config(tiny_model, rows, {"name": request.param, **options})
    work_dir = tmp_path_factory.mktemp("run")
    xtune.train(settings, work_dir)
    return request.param, settings, work_dir


def logits(model):
    with torch.no_grad():
        return model.eval()(torch.arange(3, 60)[None]).logits


def test_a_run_becomes_what_plain_libraries_load(trained, tiny_model, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    name, settings, work_dir = trained
    out = tmp_path / "out"
    checkpoint = pth_to_hf(settings, work_dir, out)
    assert checkpoint == work_dir / "checkpoints" / "step_3"
    before = logits(xtune.load_model(tiny_model))
    if name == "full":
        tuned = logits(AutoModelForCausalLM.from_pretrained(out))
        assert json.loads((out / "generation_config.json").read_text())["eos_token_id"] == 2
    else:
        assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == str(tiny_model)
        adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model), out)
        tuned = logits(adapted)
        merged = tmp_path / "merged"
        merge(str(tiny_model), out, merged)
        assert torch.allclose(logits(AutoModelForCausalLM.from_pretrained(merged)), tuned, atol=2e-6)
        out = merged
    assert not torch.allclose(tuned, before, atol=1e-4)

    messages = [{"role": "user", "content": "1 plus 1?"}]
    tokenizer = AutoTokenizer.from_pretrained(out)
    session = open_session(str(out), components([]))
    assert session.template == components([]).templates["chatml"]
    assert tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False) == (
        session.prompt_ids([xtune.Turn("user", "1 plus 1?")])
    )


def test_another_config_than_the_one_trained_is_refused(trained, tiny_model, rows, tmp_path):
    name, _, work_dir = trained
    other = "full" if name != "full" else "lora"
    with pytest.raises(
        CheckpointError, match=f"has another tuning than the config: got `{name}`, the config says {other}"
    ):
        pth_to_hf(config(tiny_model, rows, {"name": other}), work_dir, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_merge_refuses_before_it_writes(tiny_model, tmp_path):
    with pytest.raises(ModelError, match="adapter folder does not exist"):
        merge(str(tiny_model), tmp_path / "absent", tmp_path / "out")
    (tmp_path / "out").mkdir()
    with pytest.raises(XtuneError, match="output exists already"):
        merge(str(tiny_model), tmp_path / "absent", tmp_path / "out")


@pytest.mark.parametrize("here", [True, False])
def test_an_adapter_names_its_base_for_whoever_stands_elsewhere(here, tiny_model, rows, tmp_path, monkeypatch):
    monkeypatch.chdir(tiny_model.parent)
    settings = config(tiny_model.name if here else tiny_model, rows, {"name": "lora", "rank": 2})
    xtune.train(settings, tmp_path / "run")
    pth_to_hf(settings, tmp_path / "run", tmp_path / "adapter")
    monkeypatch.chdir(tmp_path)
    named = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert named == str(tiny_model)
    open_session(str(tmp_path / "adapter"), components([]))


@pytest.mark.parametrize("out", ["base", "base/..", "run", "run/checkpoints"])
def test_no_output_takes_the_place_of_the_base_or_the_run(out, tiny_model, rows, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "base")
    settings = config(tmp_path / "base", rows, {"name": "lora", "rank": 2})
    xtune.train(settings, tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match="OUT would take the place of what is needed: got .*, which holds "):
        pth_to_hf(settings, tmp_path / "run", tmp_path / out, force=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_output_inside_its_source_is_written_there(tiny_model, rows, tmp_path):
    base = shutil.copytree(tiny_model, tmp_path / "base")
    settings = config(base, rows, {"name": "lora", "rank": 2})
    xtune.train(settings, tmp_path / "run")
    before = {path: path.read_bytes() for path in base.iterdir()}
    pth_to_hf(settings, tmp_path / "run", tmp_path / "run" / "adapter")
    merge(str(base), tmp_path / "run" / "adapter", base / "merged")
    assert {path: path.read_bytes() for path in base.iterdir() if path.is_file()} == before
    assert (base / "merged" / "model.safetensors").is_file() and not (base / "merged" / "merged").exists()
