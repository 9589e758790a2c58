"""Every command line of the documentation runs, in a folder with the files that the page shows.

What would download, or takes a model's weights, has a small random model in place of the model, or is rehearsed.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from pathlib import Path

import pytest
from pages import PAGES, PROGRAMS, ROOT, blocks, commands, lines

from xtune.cli import main
from xtune.commands import components
from xtune.commands.config_arguments import config_from
from xtune.resolve import resolve

MODEL = "/models/Qwen2.5-0.5B-Instruct"
"""What the pages call a model's folder."""
LIGHT = {"show-cfg", "copy-cfg", "plugins", "new-plugin", "check-custom-dataset", "cache"}
"""Commands that run as they are, in moments; and all that list."""
HEAVY = {"train", "rehearse", "plan", "chat", "convert", "log-dataset", "check-template", "check"}
WHOLE_STORIES = ["README.md", "start.md"]
"""Pages whose commands, one after another, go from a model to a chat."""

CHAT_TEMPLATE = """\
{% if messages[0].role != 'system' %}<|im_start|>system
You are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>
{% endif %}{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    """A folder with every file that the pages show, and the workbook that own_data.md speaks of."""
    from openpyxl import Workbook

    monkeypatch.chdir(tmp_path)
    for page in PAGES:
        for block in blocks(page):
            if block.title:
                (tmp_path / block.title).write_text(block.text, encoding="utf-8")
    book = Workbook()
    book.active.title = "Main"
    for row in [["Question", "Answer"], *list(csv.reader((tmp_path / "clinic.csv").open(encoding="utf-8")))[1:]]:
        book.active.append(row)
    book.save(tmp_path / "clinic.xlsx")
    return tmp_path


@pytest.fixture
def model(tiny_model, tmp_path) -> Path:
    """A small random model whose tokenizer carries the chat template of the model that the pages speak of."""
    folder = tmp_path / "small_model"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    return folder


def is_light(words: list[str]) -> bool:
    return words[0] in LIGHT or words[0].startswith("list-")


def heavy(page: Path) -> list[list[str]]:
    """The heavy commands of a page, without those of the plugin that the page only writes: it is not installed."""
    return [words for words in commands(page) if words[0] in HEAVY and not any("my_clinic" in word for word in words)]


def run(words: list[str], model: Path | None = None) -> None:
    said = [str(model) if model and word == MODEL else word for word in words]
    assert main(said) == 0, f"xtune {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_begin_with_programs_that_the_test_knows(page):
    for words in lines(page):
        program = next(word for word in words if "=" not in word)
        assert program in PROGRAMS, words
        if program == "make":
            assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text(), words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_light_commands_run(page, workplace):
    for words in commands(page):
        assert is_light(words) or words[0] in HEAVY, words
        if words[0] == "new-plugin":
            run([*words, "--force"])
        elif is_light(words):
            copied = next((word for word in words if word.startswith("my_configs/")), None)
            if copied and not Path(copied).exists():
                run(["copy-cfg", Path(copied).stem, "my_configs"])
            run(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_heavy_commands_parse_and_their_configs_resolve(page, workplace):
    run(["copy-cfg", "internlm_7b_qlora_oasst1_e3", "my_configs"])
    found = components([])
    for words in heavy(page):
        parser = argparse.ArgumentParser()
        found.commands[words[0]].add_arguments(parser)
        args = parser.parse_args(words[1:])
        if "cfg_options" in args:
            resolve(config_from(args), found)


def small(words: list[str]) -> list[str]:
    """A heavy command made small, and such that it asks nothing and finds no earlier output in its way."""
    if words[0] == "train":
        words = words if "--cfg-options" in words else [*words, "--cfg-options"]
        if "--resume" not in words:
            shutil.rmtree(words[words.index("--work-dir") + 1], ignore_errors=True)
        return [*words, "train.max_steps=2", "train.accumulate=1", "evaluation.prompts=[]"]
    if words[0] == "chat":
        return [*words, *([] if "--prompt" in words else ["--prompt", "Hello"]), "--max-new-tokens", "3"]
    return [*words, "--force"] if words[0] == "convert" else words


def stories(page: Path) -> list[list[str]]:
    """The commands of a page from a model to a chat."""
    told = [words for words in commands(page) if words[0] in ("train", "convert", "chat")]
    return [words for words in told if words[0] != "train" or MODEL in words]


@pytest.mark.parametrize("name", WHOLE_STORIES)
def test_the_story_of_a_page_runs_from_training_to_chat(name, workplace, model):
    page = next(page for page in PAGES if page.name == name)
    told = stories(page)
    assert [words[0] for words in told] == ["train", "convert", "convert", "chat"]
    for words in told:
        run(small(words), model)


@pytest.mark.parametrize("page", [page for page in PAGES if any(b.language == "python" for b in blocks(page))])
def test_python_blocks_are_python(page):
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, page.name, "exec")


@pytest.mark.parametrize("name", ["configs.md", "templates.md", "plugins.md"])
def test_python_blocks_run(name, workplace):
    page = next(page for page in PAGES if page.name == name)
    for block in blocks(page):
        if block.language == "python" and not block.title:
            exec(compile(block.text, name, "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_heavy_commands_run_with_a_small_model_or_are_rehearsed(page, workplace, model):
    for words in stories(next(page for page in PAGES if page.name == "start.md")):
        run(small(words), model)
    run(["copy-cfg", "internlm_7b_qlora_oasst1_e3", "my_configs"])
    for words in heavy(page):
        if "OUT" in words:  # stands for what the reader has, an old checkpoint for instance: tests/legacy converts some
            continue
        if words[0] == "train" and MODEL not in words:
            run(["rehearse", words[1]])
        else:
            run(small(words), model)
