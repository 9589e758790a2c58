"""A template from a file and a mapper from a module, without a plugin; and mappers of plugins that fail."""

import json
import sys

import pytest

import xtune
from xtune.config.validate import validate
from xtune.errors import ConfigError
from xtune.generate.open import choose_template
from xtune.mappers.bind import bind_mapper
from xtune.plugins.checks import Plugin
from xtune.registries import Components
from xtune.resolve import resolve
from xtune.templates.store import find_template

MODULE = """
from xtune import Conversation, Turn

def row(row, *, asked="q"):
    return Conversation((Turn("user", row[asked]), Turn("assistant", str(1000 // row["a"]))))

number = 3
"""


def config(model, rows, mapper, **changes):
    entry = {"path": str(rows), "mapper": mapper, "options": changes.pop("options", {})}
    values = {
        "model": {"name": "smollm2_135m_instruct", "path": str(model)},
        "template": "chatml",
        "tuning": {"name": "lora"},
        "data": [entry],
        "max_length": 256,
        **changes,
    }
    return validate(values, "test")


@pytest.fixture
def clinic(tmp_path, monkeypatch):
    """A working directory with the module of a mapper, and 1,001 rows of which the last one makes it fail."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XTUNE_CACHE", str(tmp_path / "cache"))  # else a test gets the report of another's same rows
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "clinic_rows.py").write_text(MODULE)
    rows = [{"q": f"question {number}", "a": 7} for number in range(1000)] + [{"q": "the last", "a": 0}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    yield tmp_path
    sys.modules.pop("clinic_rows", None)


def test_a_template_can_be_a_file(tmp_path, tiny_model):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"user": "U: {text}\n", "assistant": "A: ", "control": ["<|im_end|>"]}))
    run = resolve(config(tiny_model, "rows.json", "alpaca", template=str(file)))
    assert run.template == xtune.ChatTemplate(user="U: {text}\n", assistant="A: ", control=("<|im_end|>",))


def test_a_chat_can_have_a_template_file_too(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text('{"user": "U: {text}"}')
    assert choose_template("no/model", None, str(file), None, Components([])) == xtune.ChatTemplate(user="U: {text}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "./absent.json",
            "chat template file does not exist: got `./absent.json`; give a .json file, or a registered name",
        ),
        (
            "mine.jinja",
            "cannot be a Jinja file, which does not say what is trained on: got `mine.jinja`; write the fields of",
        ),
        ("chatlm", "unknown template: got `chatlm`; did you mean"),
    ],
)
def test_what_is_no_template_is_told(name, message):
    with pytest.raises(xtune.XtuneError, match=message):
        find_template(name, Components([]).templates)


def test_a_mapper_can_be_a_function_of_a_module_in_the_working_directory(clinic, tiny_model):
    dataset, report = xtune.prepare_data(config(tiny_model, "rows.jsonl", "clinic_rows:row", options={"asked": "q"}))
    assert report.read == 1001 and report.trained == 1000 and len(dataset.train) > 0


def test_a_mapper_that_fails_at_one_row_is_named_with_the_row(clinic, tiny_model):
    _, report = xtune.prepare_data(config(tiny_model, "rows.jsonl", "clinic_rows:row"))
    ((reason, count),) = report.dropped.items()
    assert reason == "mapper clinic_rows:row fails with ZeroDivisionError" and count == 1
    assert report.examples[reason] == [
        "rows.jsonl, line 1001: mapper clinic_rows:row fails with ZeroDivisionError: got `integer division or modulo "
        "by zero`; correct the mapper or the row"
    ]


def test_a_failing_mapper_of_a_plugin_names_the_plugin(clinic, tiny_model):
    class Hello:
        @xtune.hookimpl
        def register_mappers(self, mappers):
            from clinic_rows import row

            mappers.add("clinic", row)

    sys.path.append(str(clinic))
    run = resolve(config(tiny_model, "rows.jsonl", "clinic"), Components([Plugin("xtune-hello", "1.2", Hello())]))
    _, report = run.prepare_data()
    assert list(report.dropped) == ["mapper clinic of plugin xtune-hello fails with ZeroDivisionError"]
    assert "rows.jsonl, line 1001: mapper clinic of plugin xtune-hello fails" in next(iter(report.examples.values()))[0]


@pytest.mark.parametrize(
    ("place", "options", "message"),
    [
        (
            "no_such:row",
            {},
            "mapper no_such:row cannot be imported: No module named 'no_such'",
        ),
        (
            "clinic_rows:rwo",
            {},
            "clinic_rows:rwo cannot be imported: AttributeError: .*write package.module:function",
        ),
        ("clinic_rows:number", {}, "mapper clinic_rows:number should be a function: got int; name another one"),
        ("clinic_rows:row", {"ask": 1}, "mapper clinic_rows:row has no option `ask`; did you mean asked"),
    ],
)
def test_what_is_no_mapper_is_told(clinic, place, options, message):
    with pytest.raises(ConfigError, match=message):
        bind_mapper(place, options, Components([]).mappers)
