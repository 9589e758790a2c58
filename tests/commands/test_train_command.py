"""xtune train, as a command."""

import json

from xtune import names, run
from xtune.cli import main


def test_config_and_tokenizer_are_loaded_once(tiny_model, tmp_path, monkeypatch, capsys):
    """The check before the run, the data, the training and the answers share them."""
    calls = []

    def counted(owner, name):
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *given, **options: calls.append(name) or real(*given, **options))

    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([{"instruction": f"{n}?", "output": "yes"} for n in range(8)]))
    counted(names, "read_config")
    counted(run, "load_tokenizer")
    settings = ["train.max_steps=1", "max_length=512", 'evaluation.prompts=["who?"]', "evaluation.max_new_tokens=2"]
    place = ["--work-dir", str(tmp_path / "run"), "--model", str(tiny_model), "--data", str(rows)]
    assert main(["train", "smollm2_135m_instruct_lora_alpaca_e3", *place, "--cfg-options", *settings]) == 0
    assert sorted(calls) == ["load_tokenizer", "read_config"], capsys.readouterr().err
