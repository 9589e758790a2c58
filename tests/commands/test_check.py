"""xtune check finds what would go wrong, all of it, and train does not start where it must not."""

from __future__ import annotations

import json
import re
from collections import namedtuple
from pathlib import Path

import pytest

from xtune.check import resources, settings
from xtune.cli import main

NAME = "smollm2_135m_instruct_lora_alpaca_e3"
QUESTION, ANSWER = "What is the capital of France?", "It is Paris."


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"instruction": f"{QUESTION} {n}", "output": ANSWER} for n in range(60)]))
    return path


@pytest.fixture
def found(tiny_model, rows, tmp_path, capsys):
    """Runs the command on the tiny model: its exit code and its findings, by subject."""

    def run(*options: str, data: str | Path = rows, settings: tuple[str, ...] = ()) -> tuple[int, dict[str, str]]:
        always = ("max_length=256", "train.accumulate=1", *settings)
        words = [NAME, "--model", str(tiny_model), "--data", str(data), "--work-dir", str(tmp_path / "run")]
        code = main(["check", *words, *options, "--cfg-options", *always])
        out = re.sub(r"\n +hint: ", "; ", capsys.readouterr().out)
        lines = [line.split(maxsplit=2) for line in out.splitlines() if line]
        return code, {line[0]: f"{line[1]} {line[2]}" for line in lines}

    return run


def test_a_run_that_may_start(found):
    code, lines = found()
    assert code == 0
    assert lines["template"] == "ok chatml; the tokenizer carries none to compare with"
    assert lines["stop"] == "ok answers end with <|im_end|>"
    assert lines["data"] == "ok 60 rows, 60 trained on"
    assert lines["length"] == "ok max_length 256, the model takes 2048"
    assert lines["steps"].startswith("ok ") and lines["disk"].startswith("ok ")
    assert lines["ready"] == "to train"


@pytest.mark.parametrize(
    ("options", "subject", "told"),
    [
        (
            {"settings": ("max_length=4096",)},
            "length",
            r"max_length is beyond the model's context: got `4096`, it takes 2048",
        ),
        (
            {"options": ("--template", "internlm2_chat")},
            "model",
            "a control token that the tokenizer does not have: got `<s>`",
        ),
        ({"data": "nowhere.json"}, "data", "data file does not exist: got `nowhere.json`"),
        ({"options": ("--mapper", "medical")}, "data", "column `Question` is missing"),
        ({"settings": ("max_length=8",)}, "data", "no row is left to train on: got 60 rows"),
        (
            {"settings": ("visualizers=[TensorBoard]",)},
            "visualizers",
            "unknown visualizer: got `TensorBoard`; did you mean",
        ),
        ({"settings": ("model.attention=flash_attention_2",)}, "attention", "flash_attention_2 needs "),
        ({"settings": ("train.epochs=1e-12",)}, "steps", "train.epochs is too small"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_forbids_to_start(found, options, subject, told):
    code, lines = found(*options.pop("options", ()), **options)
    assert code == 2
    assert lines[subject].startswith("error ") and told in lines[subject]
    assert lines["not"] == "ready to train: 1 thing to correct"


def test_all_that_is_wrong_is_told_at_once(found):
    code, lines = found(data="nowhere.json", settings=("max_length=4096", "visualizers=[TensorBoard]"))
    assert code == 2 and lines["not"] == "ready to train: 3 things to correct"


def test_what_is_only_suspicious_is_a_warning(found, tmp_path):
    rows = [{"instruction": QUESTION, "output": "" if n % 3 == 0 else ANSWER} for n in range(6)]
    path = tmp_path / "few.json"
    path.write_text(json.dumps(rows))
    code, lines = found("--template", "vicuna", data=path, settings=("train.epochs=1",))
    assert code == 0
    assert lines["data"].startswith("warning 6 rows, 4 trained on, 2 dropped (")
    assert ": few; lower train.accumulate" in lines["steps"]


def test_a_template_without_an_end_is_a_warning(found, tmp_path):
    path = tmp_path / "endless.json"
    path.write_text(
        json.dumps({"user": "Q: {text}\nA: ", "assistant": "", "answer": "{text}", "end": "", "tail": "\n"})
    )
    _, lines = found("--template", str(path))
    assert lines["stop"].startswith("warning no answer ends with what ends a chat's: got ")


def test_memory_and_disk_that_are_too_small(found, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda folder: usage(10_000))
    monkeypatch.setattr(resources, "free_memory", lambda device: 2**28)
    code, lines = found()
    assert code == 2
    assert lines["disk"].startswith("error ") and "free some, or choose another place" in lines["disk"]
    assert lines["memory"].startswith("error ") and "0.2 GiB are free" in lines["memory"]


def test_memory_that_may_be_too_small_is_a_warning(found, monkeypatch):
    monkeypatch.setattr(resources, "free_memory", lambda device: int(0.95 * 2**30))
    code, lines = found(settings=("train.gradient_checkpointing=False", "max_length=512"))
    assert code == 0 and lines["memory"].startswith("warning ")


def test_memory_and_disk_are_those_of_the_model_that_is_given(found, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda folder: usage(20_000_000))  # too little for the config's
    code, lines = found()
    assert code == 0 and lines["disk"].startswith("ok ")


def test_a_work_dir_that_cannot_be_is_an_error(found, rows, monkeypatch):
    code, lines = found("--work-dir", str(rows / "run"))
    told = f"{rows / 'run'} cannot be made: got a file, {rows}; choose another --work-dir"
    assert code == 2 and lines["work"].endswith(told)
    monkeypatch.setattr(settings.os, "access", lambda folder, kind: False)
    code, lines = found()
    assert code == 2 and "which is read-only; choose another --work-dir" in lines["work"]


def test_packages_of_another_version_are_named(found, monkeypatch):
    real = settings.version
    monkeypatch.setattr(settings, "version", lambda name: "4.40.0" if name == "transformers" else real(name))
    code, lines = found()
    assert code == 0 and lines["packages"].startswith("warning transformers 4.40.0 is not <6,>=5.17")


def test_train_stops_at_the_first_that_forbids(tiny_model, rows, tmp_path, capsys):
    words = [NAME, "--model", str(tiny_model), "--data", str(rows), "--work-dir", str(tmp_path / "run")]
    assert main(["train", *words, "--cfg-options", "max_length=4096"]) == 2
    assert "length: max_length is beyond the model's context: got `4096`" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
