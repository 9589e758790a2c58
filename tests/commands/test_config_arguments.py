"""--model, --data, --mapper, --seed and --cfg-options: what each changes in a config."""

from argparse import ArgumentParser

import pytest

from xtune.commands.config_arguments import add_config_arguments, config_from
from xtune.errors import ConfigError

CONFIG = """
model = dict(name="smollm2_135m_instruct", path="owner/name")
template = "chatml"
tuning = dict(name="lora")
data = [
    dict(path="owner/one", subset="small", split="test", limit=9, mapper="alpaca", system="s",
         options=dict(output="answer")),
    %s
]
"""
SECOND = 'dict(path="owner/two", mapper="alpaca_zh"),'


def config(tmp_path, *words: str, entries: int = 1):
    file = tmp_path / "config.py"
    file.write_text(CONFIG % (SECOND if entries == 2 else ""))
    parser = ArgumentParser()
    add_config_arguments(parser)
    return config_from(parser.parse_args([str(file), *words]))


def test_without_flags_the_config_stands(tmp_path):
    assert config(tmp_path).data[0].path == "owner/one"


def test_model_and_seed(tmp_path):
    changed = config(tmp_path, "--model", "/models/小模型", "--seed", "7")
    assert changed.model.path == "/models/小模型" and changed.seed == 7


def test_template(tmp_path):
    assert config(tmp_path, "--template", "mine.json").template == "mine.json"


def test_data_keeps_the_mapper_and_forgets_the_old_file(tmp_path):
    (entry,) = config(tmp_path, "--data", "rows.json").data
    assert (entry.path, entry.mapper, entry.options, entry.system) == ("rows.json", "alpaca", {"output": "answer"}, "s")
    assert (entry.subset, entry.split, entry.limit) == (None, "train", None)


def test_several_paths_share_the_only_entry(tmp_path):
    entries = config(tmp_path, "--data", "a.json", "b.json").data
    assert [(entry.path, entry.mapper) for entry in entries] == [("a.json", "alpaca"), ("b.json", "alpaca")]


def test_as_many_paths_as_entries_go_one_to_one(tmp_path):
    entries = config(tmp_path, "--data", "a.json", "b.json", entries=2).data
    assert [(entry.path, entry.mapper) for entry in entries] == [("a.json", "alpaca"), ("b.json", "alpaca_zh")]


def test_another_number_of_paths_needs_a_mapper(tmp_path):
    with pytest.raises(
        ConfigError, match="has 2 data entries with different mappers: got 1 in their place; give 2, or say"
    ):
        config(tmp_path, "--data", "a.json", entries=2)
    (entry,) = config(tmp_path, "--data", "a.json", "--mapper", "auto", entries=2).data
    assert (entry.mapper, entry.options) == ("auto", {})


def test_a_mapper_alone_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--mapper goes with --data: got only --mapper alpaca"):
        config(tmp_path, "--mapper", "alpaca")


def test_cfg_options_win(tmp_path):
    changed = config(tmp_path, "--data", "a.json", "--seed", "7", "--cfg-options", "seed=8", "data.0.limit=5")
    assert changed.seed == 8 and changed.data[0].limit == 5 and changed.data[0].path == "a.json"
