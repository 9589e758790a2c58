"""Every id that is trained or asked has an embedding; a tokenizer that merely carries more tokens is not refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import xtune
from xtune.cli import main
from xtune.errors import ModelError
from xtune.models.vocabulary import added_beyond, embedding_rows, padding_id, refuse_beyond
from xtune.names import load_config
from xtune.training import build

NAME = "smollm2_135m_instruct_lora_alpaca_e3"


def with_tokens(model: Path, folder: Path, *tokens: str, **special: str) -> Path:
    """The model with tokens that were added to its tokenizer, and no embeddings for them."""
    shutil.copytree(model, folder)
    tokenizer = xtune.load_tokenizer(folder)
    tokenizer.add_tokens(list(tokens))
    tokenizer.add_special_tokens(special)
    tokenizer.save_pretrained(folder)
    return folder


def rows_of(folder: Path, answer: str) -> Path:
    file = folder / "rows.json"
    file.write_text(json.dumps([{"instruction": f"{n} plus {n}?", "output": "x"} for n in range(9)] * 5))
    rows = json.loads(file.read_text())
    rows[7]["output"] = answer
    file.write_text(json.dumps(rows))
    return file


@pytest.fixture
def typed(tmp_path, capsys):
    """Runs check and train with a model and rows: their exit codes, and what they print."""

    def run(model: Path, rows: Path, *settings: str):
        ends = {}
        for command in ("check", "train"):
            words = [NAME, "--model", str(model), "--data", str(rows), "--work-dir", str(tmp_path / "run")]
            options = ("max_length=256", "train.max_steps=1", "tuning.rank=2", "evaluation.prompts=[]", *settings)
            code = main([command, *words, "--cfg-options", *options])
            captured = capsys.readouterr()
            ends[command] = code, captured.out + captured.err
        return ends

    return run


def test_added_tokens_that_the_data_contain_are_refused_with_their_row(tiny_model, tmp_path, typed):
    model = with_tokens(tiny_model, tmp_path / "model", "zolpidem", "阿司匹林")
    ends = typed(model, rows_of(tmp_path, "take zolpidem twice"))
    told = "rows.json, row 8 has a token that the model has no embedding for: got `'zolpidem'` = 260, the embeddings"
    for code, text in ends.values():
        assert code == 2 and told in text and "Traceback" not in text


def test_added_tokens_that_nothing_contains_are_warned_of(tiny_model, tmp_path, typed):
    model = with_tokens(tiny_model, tmp_path / "model", "[IMAGE]", pad_token="[PAD]")
    ends = typed(model, rows_of(tmp_path, "nothing of the kind"), "pack=False", "train.batch_size=4")
    assert [code for code, _ in ends.values()] == [0, 0]
    assert "2 added tokens have no embedding, such as `'[IMAGE]'`: rows with them are refused" in ends["check"][1]


def test_the_tokenizer_of_another_model_is_refused(tiny_model, tmp_path, typed):
    small = tmp_path / "small"
    shutil.copytree(tiny_model, small)
    model = xtune.load_model(tiny_model)
    model.resize_token_embeddings(200)
    model.save_pretrained(small)
    ends = typed(small, rows_of(tmp_path, "x"))
    for code, text in ends.values():
        assert code == 2
        assert text.count("the tokenizer is another model's: got 60 tokens without an embedding, such as ") == 1


def test_padded_embeddings_are_fine(tiny_model, tmp_path, typed):
    padded = tmp_path / "padded"
    shutil.copytree(tiny_model, padded)
    model = xtune.load_model(tiny_model)
    model.resize_token_embeddings(320)
    model.save_pretrained(padded)
    assert [code for code, _ in typed(padded, rows_of(tmp_path, "x")).values()] == [0, 0]


def test_a_chat_refuses_a_token_without_an_embedding_and_goes_on(tiny_model, tmp_path, capsys):
    model = with_tokens(tiny_model, tmp_path / "model", "zolpidem")
    words = ["chat", str(model), "--prompt-template", "chatml", "--max-new-tokens", "2"]
    assert main([*words, "--prompt", "what is zolpidem?"]) == 2
    told = "the conversation has a token that the model has no embedding for: got `'zolpidem'` = 260"
    assert told in capsys.readouterr().err
    assert main([*words, "--prompt", "what is it?"]) == 0


def test_the_functions_by_hand(tiny_model):
    tokenizer = xtune.load_tokenizer(tiny_model)
    assert embedding_rows(xtune.load_model(tiny_model).config) == len(tokenizer) == 260
    assert added_beyond(tokenizer, 260) == []
    tokenizer.add_tokens(["[B]", "[A]"])
    assert added_beyond(tokenizer, 260) == ["[B]", "[A]"] and added_beyond(tokenizer, 261) == ["[A]"]
    refuse_beyond([0, 260], tokenizer, 261, "row 3")
    with pytest.raises(
        ModelError, match=r"row 3 has a token .* got `'\[A\]'` = 261, the embeddings have 261 rows; resize"
    ):
        refuse_beyond([0, 261, 260], tokenizer, 261, "row 3")
    assert padding_id(tokenizer, 260) == tokenizer.pad_token_id
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    assert padding_id(tokenizer, 260) == tokenizer.eos_token_id and padding_id(tokenizer, 1) == 0


def test_train_refuses_before_it_loads_the_weights(tiny_model, tmp_path, monkeypatch):
    model = with_tokens(tiny_model, tmp_path / "model", "zolpidem")
    monkeypatch.setattr(build, "build_model", lambda *_: pytest.fail("the weights were loaded"))
    data = [{"path": str(rows_of(tmp_path, "take zolpidem twice")), "mapper": "alpaca"}]
    config = load_config(NAME, {"model.path": str(model), "data": data, "max_length": 256})
    with pytest.raises(ModelError, match="has a token that the model has no embedding for: got `'zolpidem'` = 260"):
        xtune.train(config, tmp_path / "run")
