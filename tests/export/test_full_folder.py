"""A model that was trained whole leaves as the base's folder, file by file and key by key, with other weights."""

import json

import pytest
import torch
from bases import NOT_OF_THE_MODEL, add_tensors, change, publish, stored, write
from transformers import AutoModelForCausalLM, AutoTokenizer

import xtune
from xtune.config.validate import validate
from xtune.export.pth_to_hf import pth_to_hf


@pytest.fixture
def train(rows, tmp_path):
    """Trains `base` whole for a step, and converts the result."""

    def trained(base, **model):
        config = validate(
            {
                "model": {"name": "smollm2_135m_instruct", "path": str(base), **model},
                "template": "yi_chat",
                "tuning": {"name": "full"},
                "data": [{"path": str(rows), "mapper": "alpaca"}],
                "max_length": 256,
                "optimizer": {"lr": 1e-3},
                "train": {"max_steps": 1},
            },
            "test",
        )
        xtune.train(config, tmp_path / "run")
        pth_to_hf(config, tmp_path / "run", tmp_path / "out")
        return tmp_path / "out"

    return trained


@pytest.fixture
def base(tiny_model, tmp_path):
    folder = tmp_path / "base"
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="150KB")
    publish(folder, tiny_model)
    return folder


def names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_all_but_the_weights_and_their_dtype_is_the_bases(base, train, tiny_model):
    index = json.loads((base / "model.safetensors.index.json").read_text())
    last = max(index["weight_map"].values())
    add_tensors(base / last, **{"mtp.layers.0.weight": torch.ones(3, dtype=torch.bfloat16)})
    index["weight_map"]["mtp.layers.0.weight"] = last
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    out = train(base)
    assert names(out) == names(base) - {*NOT_OF_THE_MODEL} | {"xtune_template.json"}
    changed = {name for name in names(out) & names(base) if (out / name).read_bytes() != (base / name).read_bytes()}
    assert {name for name in changed if not name.startswith("model-")} == {
        "config.json",
        "model.safetensors.index.json",
    }
    config = json.loads((base / "config.json").read_text())
    assert json.loads((out / "config.json").read_text()) == config | {"torch_dtype": "float32"}
    before, after = stored(base), stored(out)
    for file, tensors in before.items():
        assert tensors.keys() == after[file].keys()
        for name, tensor in tensors.items():
            ahead = name.startswith("mtp")
            assert after[file][name].dtype == (torch.bfloat16 if ahead else torch.float32)
            assert torch.equal(after[file][name], tensor) == ahead
    assert "tools" in AutoTokenizer.from_pretrained(out).chat_template
    AutoModelForCausalLM.from_pretrained(out)


@pytest.mark.parametrize("place", ["generation_config.json", "config.json"])
def test_no_finished_run_is_lost_to_generation_settings(base, train, place, caplog):
    change(base / "generation_config.json", do_sample=False, temperature=0.9, early_stopping=True)
    if place == "config.json":
        (base / "generation_config.json").unlink()
        change(base / "config.json", temperature=0.9, top_p=0.6)
    out = train(base)
    assert "which transformers refuses to write" in caplog.text
    written = json.loads((out / "generation_config.json").read_text())
    assert "temperature" not in written and written["eos_token_id"] == ([2, 0] if place[0] == "g" else 2)
    model = AutoModelForCausalLM.from_pretrained(out)
    model.save_pretrained(out / "again")


def test_another_tokenizer_than_the_bases_comes_without_the_bases_files(base, train, tiny_model, tmp_path):
    (tmp_path / "other").mkdir()
    for file in tiny_model.glob("tokenizer*"):
        write(tmp_path / "other", file.name, file.read_text())
    change(tmp_path / "other" / "tokenizer_config.json", eos_token="<|endoftext|>")
    write(base, "vocab.json", "{}")
    out = train(base, tokenizer=str(tmp_path / "other"))
    assert not {"vocab.json", "special_tokens_map.json"} & names(out)
    assert AutoTokenizer.from_pretrained(out).eos_token == "<|endoftext|>"
    assert (out / "LICENSE").is_file()
