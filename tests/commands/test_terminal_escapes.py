"""No command lets text of others reach the terminal as it is: rows, names of files, settings, answers, errors."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from xtune.cli import main
from xtune.commands import COMMANDS

HIDDEN = re.compile(r"[^\n\t -~\u00a0-\u061b\u061d-\u1fff\u200b-\u200d\u2010-\u2027\u2030-\u2065\u2070-\ud7ff\ue000-\ufefe\uff00-\ufff8\ufffc-\U0010ffff]")  # fmt: skip # noqa: E501
"""Written anew here, by what may pass."""
EVIL = (
    "\x1b]0;title\x07\x1b[2J\x1b[31;8m\x1b]8;;http://x\x1b\\\x1bP1$r\x1b\\\x1bc"  # title, clear, hide, link, ask, reset
    "\x9b31m\x9d0;y\x9c\x90\x85\x7f\x08\x08\rfake\x0b\x0c\x05"  # the same in one character each, and older ones
    "\u202e\u202a\u2066\u2069\u200f\u061c\u2028\ufeff你好👩‍👩‍👧"
)
NAME = EVIL.replace("/", "")
CONFIG = """
model = dict(name="smollm2_135m_instruct", path={model!r})
template = "chatml"
tuning = dict(name="lora", rank=2, alpha=4, targets="all-linear")
data = [dict(path={data!r}, mapper="alpaca")]
max_length = 1024
train = dict(max_steps=1)
evaluation = dict(prompts=[{evil!r}], max_new_tokens=2)
"""


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_model) -> dict[str, Any]:
    """Paths of a folder whose files and names are all hostile, by what they are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XTUNE_CACHE", str(tmp_path / "cache"))
    rows = [{"instruction": f"q{EVIL}{n}", "input": "", "output": f"a{EVIL}"} for n in range(6)]
    bad = [{"instruction" + EVIL: "q", "out" + EVIL: "a"}, {"instruction": [EVIL], "output": "a"}, *rows[:2]]
    good_file, bad_file = tmp_path / f"good{NAME}.jsonl", tmp_path / f"bad{NAME}.jsonl"
    good_file.write_text("\n".join(map(json.dumps, rows)))
    bad_file.write_text("\n".join(map(json.dumps, bad)))
    table = tmp_path / f"table{NAME}.csv"
    table.write_bytes(f"a{EVIL[:-9]},b\n1,2\n".replace("\r", "").encode())
    config = tmp_path / f"mine{NAME}.py"
    config.write_text(CONFIG.format(model=str(tiny_model), data=str(good_file), evil=EVIL), encoding="utf-8")
    broken = tmp_path / f"broken{NAME}.py"
    broken.write_text(f"model = {EVIL!r} + missing\nimport os\n", encoding="utf-8")
    adapter = tmp_path / f"adapter{NAME}"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": EVIL, "peft_type": EVIL}))
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    template = tmp_path / f"template{NAME}.json"
    template.write_text(json.dumps({"user" + EVIL: EVIL}))
    return {
        "good": good_file, "bad": bad_file, "table": table, "config": config, "broken": broken,
        "adapter": adapter, "template": template, "model": tiny_model, "evil": EVIL, "name": NAME,
    }  # fmt: skip


CASES = {
    "train": ["{config}", "{config} --data {bad}", "{broken}",
              "{config} --template {template}", "{config} --resume {evil}"],
    "chat": ["{adapter} --prompt {evil}", "{model} --adapter {adapter} --prompt x", "{evil}", "{model} --dtype {evil}"],
    "convert": ["merge {model} {adapter} a", "pth_to_hf {config} {evil} a",
                "layout {evil} a", "adapters {adapter} {name}"],
    "list-cfg": ["-p {evil}", "--model {evil}"],
    "copy-cfg": ["{config} out", "{config} {name}", "{evil} out", "{broken} out"],
    "show-cfg": ["{config}", "{broken}", "{config} --cfg-options {evil}=1", "{config} --cfg-options seed={evil}"],
    "list-models": ["-p {evil}"],
    "list-templates": ["-p {evil}"],
    "list-mappers": ["-p {evil}"],
    "list-strategies": ["{evil}", ""],
    "list-objectives": ["{evil}", ""],
    "list-components": ["{evil}", ""],
    "plugins": ["", "{evil}"],
    "new-plugin": ["{evil}"],
    "rehearse": ["{broken}", "{config} --data {evil}"],
    "check": ["{config}", "{config} --data {bad}", "{config} --model {evil}", "{config} --mapper {evil} --data {good}"],
    "plan": ["{config}", "{config} --data {bad}", "{config} --gpus {evil}"],
    "check-template": ["{model} --template {template}", "{evil}"],
    "check-custom-dataset": ["{good}", "{bad}", "{bad} --mapper alpaca", "{table}", "{table} --mapper a", "{good}.x"],
    "log-dataset": ["{config}", "{config} --data {bad}", "{config} --template {template}", "{config} --html {name}"],
    "cache": ["list", "{evil}"],
}  # fmt: skip
"""Arguments of each command that bring hostile text in, in some way."""


def test_every_command_is_tried():
    assert set(CASES) == set(COMMANDS)
    assert sum(map(len, CASES.values())) > 40


@pytest.mark.parametrize(("command", "words"), [(name, words) for name, tries in CASES.items() for words in tries])
def test_a_command_prints_no_escape_of_others(place, capfd, monkeypatch, command, words):
    if command == "plugins":
        monkeypatch.setenv("XTUNE_PLUGINS", words.format(**place))
    if command == "cache" and words == "list":
        assert main(["log-dataset", str(place["config"])]) == 0
        capfd.readouterr()
    arguments = [word.format(**place) for word in words.split()] if command != "plugins" else []
    code = main([command, *arguments])
    out, err = capfd.readouterr()
    assert code in (0, 2), err
    assert HIDDEN.findall(out + err) == []
    assert out or err
    if code == 2 and err:
        assert err.startswith("xtune: error: ") and err.count("\n") == 1 + err.count("\nhint: ")


def test_what_was_hidden_is_shown_and_the_rest_stays(place, capfd):
    assert main(["log-dataset", str(place["config"])]) == 0
    shown = re.sub(r"\s", "", capfd.readouterr().out)
    for part in (
        r"\x1b]0;title\x07\x1b[2J",
        r"\x9b31m",
        r"\x08\x08\x0dfake\x0b\x0c",
        r"\u202e\u202a",
        "你好👩‍👩‍👧",
    ):
        assert part in shown


def test_an_answer_is_cleaned_as_it_comes(place, capfd, monkeypatch):
    from xtune.generate.session import Session

    monkeypatch.setattr(Session, "ask", lambda session, text, write: [write(letter) for letter in EVIL])
    assert main(["chat", str(place["model"]), "--prompt-template", "chatml", "--prompt", "x"]) == 0
    out = capfd.readouterr().out
    assert HIDDEN.findall(out) == [] and out.startswith(r"\x1b]0;title\x07") and out.endswith("你好👩‍👩‍👧\n")


def test_every_hidden_character_is_known_to_this_test():
    assert all(HIDDEN.search(letter) for letter in EVIL if not letter.isprintable() and letter != "\u200d")
    assert HIDDEN.sub("", "a\n\tb 你好，é 👩‍👩‍👧 🇨🇳 مرحبا") == "a\n\tb 你好，é 👩‍👩‍👧 🇨🇳 مرحبا"
    assert os.sep not in NAME and Path(NAME).name == NAME
