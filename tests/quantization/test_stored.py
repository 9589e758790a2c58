"""A base whose weights are stored in few bits is used as it is, or refused in one line: never as something else."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from hints import joined

import xtune
from xtune.cli import main
from xtune.errors import ModelError
from xtune.quantization.bits import Fp4, Int8, Nf4
from xtune.tuning import Lora

KINDS = {"nf4": Nf4(), "fp4": Fp4(), "int8": Int8()}
STORED = {
    "nf4": r"4 bits \(bitsandbytes nf4\)",
    "fp4": r"4 bits \(bitsandbytes fp4\)",
    "int8": r"8 bits \(bitsandbytes\)",
}
NAME = "smollm2_135m_instruct_lora_alpaca_e3"


@pytest.fixture(scope="module")
def stored(tiny_model, tmp_path_factory) -> dict[str, Path]:
    """The tiny model, stored in each way."""
    from transformers import AutoModelForCausalLM

    place, folders = tmp_path_factory.mktemp("stored"), {}
    for name, kind in KINDS.items():
        folders[name] = shutil.copytree(tiny_model, place / name)
        (folders[name] / "model.safetensors").unlink()
        options = {"quantization_config": kind.load_options(torch.float32), "device_map": {"": "cpu"}}
        AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32, **options).save_pretrained(folders[name])
    return folders


@pytest.fixture
def rows(tmp_path) -> Path:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([{"instruction": f"{n}?", "output": f"{n}."} for n in range(40)]))
    return file


def loaded_as(model) -> str:
    return type(model.model.layers[0].mlp.up_proj).__name__


@pytest.mark.parametrize("name", KINDS)
def test_a_model_that_is_stored_in_few_bits_is_loaded_as_it_is(stored, name):
    model = xtune.load_model(stored[name])
    again = xtune.load_model(stored[name], quantization=KINDS[name].load_options(torch.float32))
    assert loaded_as(model) == loaded_as(again) == ("Linear8bitLt" if name == "int8" else "Linear4bit")
    ids = torch.arange(3, 40)[None]
    assert torch.equal(model(ids).logits, again(ids).logits)


@pytest.mark.parametrize(("name", "wanted"), [("int8", 4), ("nf4", 8), ("fp4", 4)])
def test_other_bits_than_it_has_are_refused(stored, name, wanted):
    with pytest.raises(ModelError, match=rf"is stored in {STORED[name]}, and cannot be loaded in .* bits .*; give the"):
        xtune.load_model(stored[name], quantization=wanted)


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("nf4", ["tuning.name=full"], r"nf4\): its weights cannot be trained whole; give the model that is not"),
        ("int8", ["tuning.name=full"], r"its weights cannot be trained whole"),
        ("nf4", ["tuning.name=lora"], r"and quantization=none asks for whole weights; set quantization=nf4, or give"),
        ("int8", ["tuning.name=lora"], r"and quantization=none asks for whole weights; set quantization=int8, or give"),
        ("int8", ["tuning.name=qlora"], r"stored in 8 bits \(bitsandbytes\), and cannot be loaded in 4 bits"),
        ("fp4", ["tuning.name=qlora"], r"stored in 4 bits \(bitsandbytes fp4\), and cannot be loaded in 4 bits .*nf4"),
        ("nf4", ["tuning.name=int8_lora"], r"stored in 4 bits \(bitsandbytes nf4\), and cannot be loaded in 8 bits"),
    ],
)
def test_a_tuning_that_does_not_go_with_it_is_refused_by_check_and_train(
    stored, rows, tmp_path, capsys, name, settings, told
):
    words = [NAME, "--model", str(stored[name]), "--data", str(rows), "--work-dir", str(tmp_path / "run")]
    options = ["--cfg-options", "max_length=64", "train.max_steps=1"]
    if settings == ["tuning.name=full"]:
        words[0] = NAME.replace("lora", "full")
        settings = []
    for command in ("check", "train"):
        assert main([command, *words, *options, *settings]) == 2
        captured = capsys.readouterr()
        assert re.search(told, joined(captured.out + captured.err)), captured
        assert "Traceback" not in captured.err


@pytest.mark.parametrize(("name", "tuning"), [("nf4", "qlora"), ("int8", "int8_lora")])
def test_adapters_are_trained_on_the_bits_that_it_has_and_merged_elsewhere(
    stored, rows, tiny_model, tmp_path, capsys, name, tuning
):
    words = [NAME.replace("lora", tuning), "--model", str(stored[name]), "--data", str(rows)]
    options = ["max_length=256", "train.max_steps=1", "tuning.rank=4", "train.accumulate=1"]
    run = tmp_path / "run"
    assert main(["train", *words, "--work-dir", str(run), "--cfg-options", *options]) == 0
    adapter, merged = str(run / "checkpoints" / "step_1"), str(tmp_path / "merged")
    assert main(["chat", str(stored[name]), "--adapter", adapter, "--prompt", "1?", "--max-new-tokens", "1"]) == 0
    capsys.readouterr()
    assert main(["convert", "merge", str(stored[name]), adapter, merged]) == 2
    assert "no adapter can be merged into it; merge into the model that is not" in joined(capsys.readouterr().err)
    assert main(["convert", "merge", str(tiny_model), adapter, merged, "--other-base"]) == 0


def test_a_lora_on_top_of_weights_of_another_method_is_left_to_peft(tiny_model):
    """Only bitsandbytes has settings here: what others store is said by the model alone."""
    from transformers import LlamaConfig

    from xtune.quantization.stored import refuse_requantizing, refuse_unasked, stored_as

    config = LlamaConfig(quantization_config={"quant_method": "gptq", "bits": 4})
    assert str(stored_as(config)) == "4 bits (gptq)"
    refuse_unasked("model", config)
    with pytest.raises(
        ModelError, match=r"is stored in 4 bits \(gptq\), and cannot be loaded in 4 bits \(bitsandbytes"
    ):
        refuse_requantizing("model", config, Nf4().load_options(torch.float32))
    assert stored_as(LlamaConfig()) is None and Lora().prepare(xtune.load_model(tiny_model))
