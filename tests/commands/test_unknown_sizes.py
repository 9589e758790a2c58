"""An estimate that nobody can make is told as unknown, and stops nothing: models of other families, odd sizes."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from xtune.cli import main
from xtune.paths import packaged

NAME = "smollm2_135m_instruct_lora_alpaca_e3"
ROWS = packaged("package:xtune.catalogue/rows/self_identity.jsonl")


@pytest.fixture
def model(tiny_model, tmp_path):
    """Writes a copy of the small model with another config.json, or with a model of another class."""

    def write(**changes: Any):
        folder = tmp_path / "model"
        shutil.copytree(tiny_model, folder)
        values = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(values | changes))
        return folder

    return write


@pytest.fixture
def tried(capsys, tmp_path):
    """Runs a command on a model: its exit code and the lines of each subject."""

    def run(command: str, folder, *settings: str) -> tuple[int, str]:
        (tmp_path / "rows.json").write_text(json.dumps([{"instruction": f"q {n}", "output": "a"} for n in range(9)]))
        words = [NAME, "--model", str(folder), "--data", str(tmp_path / "rows.json"), "--template", "chatml"]
        code = main([command, *words, "--cfg-options", "max_length=256", "train.accumulate=1", *settings])
        out, err = capsys.readouterr()
        return code, out + err

    return run


FAMILIES = ["olmo2", "gpt_neox", "granite", "gpt2", "mixtral", "phi3", "starcoder2"]


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_family_without_known_sizes_is_checked_and_planned(tiny_model, tmp_path, tried, kind):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = tmp_path / kind
    shutil.copytree(tiny_model, folder)
    small = AutoConfig.for_model(
        kind, vocab_size=400, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=512, pad_token_id=0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(small).save_pretrained(folder)
    code, shown = tried("check", folder)
    assert code == 0 and "ready to train" in shown, shown
    assert "memory      ok" in shown or "memory      unknown" in shown
    code, shown = tried("plan", folder)
    assert (
        code == 0 and "9 rows, 9 trained" in shown and ("GiB" in shown or "parameters  unknown: the size of" in shown)
    )


ODD = [-64, 0, 10**40, 1e308, "64", None, [64], {}, True]


@pytest.mark.parametrize("value", ODD, ids=repr)
@pytest.mark.parametrize("key", ["hidden_size", "num_attention_heads", "vocab_size", "model_type", "head_dim"])
@pytest.mark.parametrize("command", ["check", "plan"])
def test_sizes_that_make_no_sense_end_in_no_traceback(model, tried, command, key, value):
    code, shown = tried(command, model(**{key: value}))
    assert code in (0, 2)
    assert all(len(line) < 2500 for line in shown.splitlines())
    if command == "plan":
        assert code == 0 and ("parameters  unknown: " in shown or "in all" in shown)
    else:
        assert "memory " in shown


@pytest.mark.parametrize("setting", ["tuning.rank", "train.batch_size", "max_length", "train.accumulate"])
@pytest.mark.parametrize("value", [2**16, 2**24, 2**31 - 1, 2**62, 10**40])
@pytest.mark.parametrize("command", ["check", "plan"])
def test_settings_beyond_all_measure_end_in_no_traceback(tiny_model, tried, command, setting, value):
    code, shown = tried(command, tiny_model, f"{setting}={value}")
    assert code in (0, 2) and shown
