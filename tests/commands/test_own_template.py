"""Commands beside a broken chat template of the model's own: those that need it end in a line, training goes on."""

from __future__ import annotations

import json
import shutil

import pytest
from hints import joined

from xtune.cli import main

NAME = "smollm2_135m_instruct_lora_alpaca_e3"
BROKEN = {
    "{% if %}": "cannot be compiled: `Expected an expression, got 'end of statement block'` in line 1",
    "{{ 1/0 }}": "fails: `ZeroDivisionError: division by zero` in line 1",
    "{% include 'x' %}": "cannot be compiled: `{% include %} is not for chat templates` in line 1",
    "{{ messages + 1 }}": 'fails: `TypeError: can only concatenate list (not "int") to list` in line 1',
    "{{ raise_exception('never') }}": "refuses this conversation: `never` in line 1",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}": "makes too much or runs too long",
    "{{ '%1000000000s' % 'a' }}": "makes too much or runs too long in line 1",
}
ALTERNATING = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML without system messages."""


@pytest.fixture
def model(tiny_model, tmp_path):
    """Makes a copy of the tiny model with this chat template."""

    def make(template: str) -> str:
        folder = shutil.copytree(tiny_model, tmp_path / "model")
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
        return str(folder)

    return make


@pytest.fixture
def run_of(tmp_path):
    """The words of a short run."""
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([{"instruction": f"how {n}?", "output": "so"} for n in range(20)]), encoding="utf-8")
    options = ["max_length=256", "train.accumulate=1", "train.max_steps=1"]

    def words(model: str) -> list[str]:
        run = [NAME, "--model", model, "--data", str(rows), "--work-dir", str(tmp_path / "run")]
        return [*run, "--cfg-options", *options]

    return words


@pytest.mark.parametrize(("template", "problem"), BROKEN.items())
def test_a_comparison_with_nothing_fails(model, capsys, template, problem):
    folder = model(template)
    for options in ([], ["--template", "chatml"]):
        assert main(["check-template", folder, *options]) == 2
        out, err = capsys.readouterr()
        assert problem in err
        assert (out, err.count("\n")) == ("", 2)


@pytest.mark.parametrize(("template", "problem"), BROKEN.items())
def test_a_chat_that_needs_it_ends_in_one_line(model, capsys, template, problem):
    assert main(["chat", model(template), "--prompt", "hi", "--max-new-tokens", "1"]) == 2
    out, err = capsys.readouterr()
    assert problem in err
    assert (out, err.count("\n")) == ("", 2)


def test_a_chat_of_a_template_that_writes_nothing(model, capsys):
    assert main(["chat", model("{# nothing #}"), "--prompt", "hi"]) == 2
    assert "writes nothing; see `xtune list-templates` for others" in joined(capsys.readouterr().err)


@pytest.mark.parametrize(("template", "problem"), BROKEN.items())
def test_check_says_that_nothing_was_compared(model, run_of, capsys, template, problem):
    assert main(["check", *run_of(model(template))]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("template ")]
    assert len(lines) == 1
    assert " warning " in lines[0] and "chatml is compared with nothing: " in lines[0] and problem in lines[0]


def test_training_goes_on(model, run_of, capsys):
    assert main(["train", *run_of(model("{% if %}"))]) == 0
    captured = capsys.readouterr()
    assert (captured.out + captured.err).count("chatml is compared with nothing: ") == 1


def test_a_template_that_refuses_system_messages(model, run_of, capsys):
    folder = model(ALTERNATING)
    assert main(["chat", folder, "--prompt", "hi", "--max-new-tokens", "1"]) == 0
    capsys.readouterr()
    assert main(["chat", folder, "--system", "x", "--prompt", "hi"]) == 2
    assert "refuses this conversation: `System role not supported` in line 1; leave that out, or see `xtune list-t" in (
        joined(capsys.readouterr().err)
    )
    assert main(["check-template", folder, "--template", "yi_chat"]) == 0
    assert capsys.readouterr().out == (
        "template yi_chat: the ids of 32 conversations equal the tokenizer's own; "
        "64 are refused by the tokenizer's own\n"
    )
    assert main(["check", "--template", "yi_chat", *run_of(folder)]) == 0
    assert "equals the tokenizer's own, id for id; it refuses 64 of 96 conversations" in capsys.readouterr().out
