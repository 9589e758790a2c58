"""Every command takes a config's name that is in no file, and one without data of its own only with --data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hints import joined

from xtune.cli import main

NAMES = ["smollm2_135m_instruct_lora_sql_e2", "smollm2_135m_instruct_full_custom_sft_e3"]
FEW = ["--cfg-options", "train.max_steps=1", "train.accumulate=1", "evaluation.prompts=[]", "model.dtype=float32"]
COMMANDS = [
    ["check"],
    ["plan"],
    ["log-dataset"],
    ["rehearse"],
    ["train", "--work-dir", "run"],
]


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A file that the mapper sql reads, and one of messages, by the place of their names."""
    monkeypatch.chdir(tmp_path)
    sql = {"question": "How many?", "context": "CREATE TABLE a (b INT)", "answer": "SELECT COUNT(*) FROM a"}
    messages = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    for name, row in (("sql.jsonl", sql), ("messages.jsonl", messages)):
        Path(name).write_text(f"{json.dumps(row)}\n" * 8)
    return ["sql.jsonl", "messages.jsonl"]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_commands_take_it(number: int, words: list[str], rows: list[str], tiny_model: Path) -> None:
    command, *others = words
    assert main([command, NAMES[number], "--model", str(tiny_model), "--data", rows[number], *others, *FEW]) == 0


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_without_data_of_its_own_it_asks_for_some(
    words: list[str], rows: list[str], tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *others = words
    assert main([command, NAMES[1], "--model", str(tiny_model), *others]) == 2
    told = "the config's data has no path: got only mapper `openai`; pass --data FILE [--mapper NAME]\n"
    assert joined(capsys.readouterr().err).endswith(told)
