"""From a run to a model that plain peft and transformers load: what comes out is what was trained."""

import json

import pytest
import torch

import xtune
from xtune.config.validate import validate
from xtune.errors import CheckpointError, ModelError, XtuneError
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
        CheckpointError, match=f"has another tuning than the config: got {name}, the config says {other}"
    ):
        pth_to_hf(config(tiny_model, rows, {"name": other}), work_dir, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_merge_refuses_before_it_writes(tiny_model, tmp_path):
    with pytest.raises(ModelError, match="adapter folder does not exist"):
        merge(str(tiny_model), tmp_path / "absent", tmp_path / "out")
    (tmp_path / "out").mkdir()
    with pytest.raises(XtuneError, match="output exists already"):
        merge(str(tiny_model), tmp_path / "absent", tmp_path / "out")
