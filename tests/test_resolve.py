"""Names become objects, or the nearest names are told."""

import json

import pytest

import xtune
from xtune.config.validate import validate
from xtune.errors import ConfigError, DataError, UnknownName
from xtune.registries import components
from xtune.resolve import resolve


def config(tiny_model=None, path="rows.json", **changes):
    values = {
        "model": {"name": "smollm2_135m_instruct", "path": str(tiny_model or "owner/name")},
        "template": "chatml",
        "tuning": {"name": "lora", "rank": 4},
        "data": [{"path": str(path), "mapper": "alpaca"}],
        "max_length": 128,
        **changes,
    }
    return validate(values, "test")


def test_a_run_has_the_objects_that_the_config_names():
    found = components([])
    run = resolve(config(), found)
    assert run.model is found.models["smollm2_135m_instruct"]
    assert run.template is found.templates["chatml"]
    assert run.tuning.rank == 4 and run.distributed.kind == "distributed"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": {"name": "smollm2_135m_instrukt", "path": "x"}},
            "unknown model: got .*did you mean smollm2_135m",
        ),
        ({"template": "chatlm"}, r"unknown template: got `chatlm`; did you mean chat"),
        ({"tuning": {"name": "lore"}}, r"unknown strategy: got `lore`; did you mean lora"),
        ({"distributed": "dpp"}, r"unknown strategy: got `dpp`; did you mean ddp"),
        ({"optimizer": {"name": "adamv"}}, r"unknown optimizer: got `adamv`; did you mean adamw"),
        ({"schedule": {"name": "cosin"}}, r"unknown schedule: got `cosin`; did you mean cosine"),
        ({"data": [{"path": "x", "mapper": "alpacca"}]}, r"unknown mapper: got `alpacca`; did you mean alpaca"),
    ],
)
def test_an_unknown_name_lists_the_nearest(changes, message):
    with pytest.raises(UnknownName, match=message):
        resolve(config(**changes), components([]))


def test_a_strategy_in_the_wrong_place_is_refused():
    with pytest.raises(ConfigError, match=r"tuning\.name should be a tuning strategy: got `ddp`"):
        resolve(config(tuning={"name": "ddp"}), components([]))
    with pytest.raises(ConfigError, match="distributed should be a distributed strategy: got `lora`"):
        resolve(config(distributed="lora"), components([]))


def test_an_option_that_a_mapper_lacks_is_refused():
    with pytest.raises(ConfigError, match=r"mapper alpaca has no option `outputs`; did you mean output or input"):
        resolve(config(data=[{"path": "x", "mapper": "alpaca", "options": {"outputs": "y"}}]), components([]))


@pytest.fixture
def rows(tmp_path):
    file = tmp_path / "rows.json"
    rows = [{"instruction": f"question {i}", "input": "", "output": f"answer {i}"} for i in range(10)]
    file.write_text(json.dumps([*rows, {"instruction": "no answer", "input": "", "output": ""}]))
    return file


def test_data_is_prepared_and_accounted_for(tiny_model, rows):
    dataset, report = xtune.prepare_data(config(tiny_model, rows))
    assert report.read == 11 and report.trained == 10 and sum(report.dropped.values()) == 1
    assert sum(len(pack.lengths) for pack in (dataset.train[i] for i in range(len(dataset.train)))) == 10


def test_auto_chooses_the_mapper_by_the_columns(tiny_model, rows, caplog):
    named = xtune.prepare_data(config(tiny_model, rows))
    auto = xtune.prepare_data(config(tiny_model, rows, data=[{"path": str(rows)}]))
    assert auto.report.tokens == named.report.tokens


def test_auto_looks_past_broken_rows_and_rows_that_lack_a_column(tiny_model, tmp_path):
    file = tmp_path / "rows.jsonl"
    rows = [{"input": "x"}, *({"instruction": f"question {i}", "output": f"answer {i}"} for i in range(3))]
    file.write_text("{half\n" + "\n".join(json.dumps(row) for row in rows))
    report = xtune.prepare_data(config(tiny_model, file, data=[{"path": str(file)}])).report
    assert report.trained == 3
    assert report.dropped == {"the JSON is broken or truncated": 1, "column `instruction` is missing": 1}
    file.write_text("{half\n[]\n")
    with pytest.raises(DataError, match=r"rows\.jsonl, line 1: the JSON is broken or truncated"):
        xtune.prepare_data(config(tiny_model, file, data=[{"path": str(file)}]))


def test_auto_does_not_train_on_preference_pairs(tiny_model, tmp_path):
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps({"prompt": "q", "chosen": "good", "rejected": "bad"}))
    with pytest.raises(DataError) as caught:
        xtune.prepare_data(config(tiny_model, file, data=[{"path": str(file)}]))
    assert str(caught.value) == (
        f"data {file} holds preference pairs, by its columns, and the objective trains on conversations; "
        "set objective.name=dpo, or options take=chosen to train on the chosen answers"
    )
    pairs = xtune.prepare_data(config(tiny_model, file, data=[{"path": str(file)}], objective={"name": "dpo"}))
    assert pairs.dataset.train[0].lengths.shape == (2,)
    chosen = [{"path": str(file), "options": {"take": "chosen"}}]
    assert xtune.prepare_data(config(tiny_model, file, data=chosen)).report.trained == 1


def test_data_that_is_not_there_is_one_line(tiny_model, tmp_path):
    with pytest.raises(DataError, match=r"absent\.json"):
        xtune.prepare_data(config(tiny_model, tmp_path / "absent.json"))
