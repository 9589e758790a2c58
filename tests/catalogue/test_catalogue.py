"""What the catalogue composes: complete, named truly, and made of things that exist; the files are equal to it."""

from __future__ import annotations

import ast
import inspect
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import unused

from xtune.catalogue.compose import compose
from xtune.catalogue.datasets import DATASETS
from xtune.catalogue.names import Name, parse
from xtune.catalogue.points import STANDARD_DATASETS, STANDARD_TUNINGS, browsed, points, skip
from xtune.commands.copy_cfg import COMMENTS, annotated
from xtune.config.schema import Config
from xtune.config.write import dump
from xtune.mappers.examples import examples
from xtune.registries import Components

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "xtune" / "configs"
FOUND = Components([])


def values_of(text: str) -> dict[str, Any]:
    """A config's values, by Python itself: an independent reader, and faster than mmengine's."""
    scope: dict[str, Any] = {}
    exec(text, scope)
    return {key: value for key, value in scope.items() if not key.startswith("__")}


@pytest.fixture(scope="module")
def configs() -> dict[str, dict[str, Any]]:
    """Names to values, of every config that is listed."""
    return {name: FOUND.configs[name] for name in FOUND.configs if name not in FOUND.configs.files}


def test_the_files_equal_the_catalogue() -> None:
    program = runpy.run_path(str(ROOT / "tools" / "generate_configs.py"))
    texts = program["wanted"]()
    there = [path for path in CONFIGS.rglob("*.*") if path.suffix == ".py" and path.parent.name != "deepspeed"]
    there.append(ROOT / "tests" / "catalogue" / "digests.txt")
    assert {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in there} == texts


def test_the_files_are_what_people_browse(configs: dict[str, dict[str, Any]]) -> None:
    modules = {path.stem: path for path in CONFIGS.rglob("*.py") if path.name != "__init__.py"}
    assert modules.keys() == set(browsed(FOUND.models)) and 350 < len(modules) < 450
    assert {spec.family for spec in FOUND.models.values()} == {path.parent.name for path in modules.values()}
    for name, path in modules.items():
        assert values_of(path.read_text(encoding="utf-8")) == configs[name]


def test_a_changed_value_is_one_line_of_the_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    program = runpy.run_path(str(ROOT / "tools" / "generate_configs.py"))
    before = list(program["digests"](FOUND.models))
    monkeypatch.setitem(program["DATASETS"]["sql"].changes, "max_length", 1024)
    after = list(program["digests"](FOUND.models))
    changed = {new.split()[0] for old, new in zip(before, after, strict=True) if old != new}
    assert changed == {
        *(f"*_{tuning}_sql_e3" for tuning in ("qlora", "lora", "int8_lora", "full")),
        *(name for name in points(FOUND.models) if "_sql_" in name),
    }


def test_check_says_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    program = runpy.run_path(str(ROOT / "tools" / "generate_configs.py"))
    main = program["main"]
    folder, digests = tmp_path / "xtune" / "configs" / "a", tmp_path / "tests" / "catalogue" / "digests.txt"
    texts = {"xtune/configs/a/x.py": "x = 1\n", "xtune/configs/a/y.py": "y = 1\n", program["DIGESTS"]: "x 1\n"}
    monkeypatch.setitem(main.__globals__, "ROOT", tmp_path)
    monkeypatch.setitem(main.__globals__, "wanted", lambda: texts)
    monkeypatch.setattr(sys, "argv", ["generate_configs.py"])
    assert main() == 0
    (folder / "x.py").write_text("x = 2\n")
    (folder / "old.py").write_text("")
    digests.write_text("x 2\n")
    monkeypatch.setattr(sys, "argv", ["generate_configs.py", "--check"])
    assert main() == 1
    assert capsys.readouterr().err.splitlines() == [
        "xtune/configs/a/old.py differs from the catalogue; run make configs",
        "tests/catalogue/digests.txt differs from the catalogue; run make configs",
        "xtune/configs/a/x.py differs from the catalogue; run make configs",
    ]
    monkeypatch.setattr(sys, "argv", ["generate_configs.py"])
    assert main() == 0
    assert sorted(path.name for path in folder.iterdir()) == ["x.py", "y.py"]
    assert (folder / "x.py").read_text() == "x = 1\n" and digests.read_text() == "x 1\n"


def test_every_name_of_xtuner_is_there(configs: dict[str, Any]) -> None:
    wanted = Path(__file__).with_name("xtuner_names.txt").read_text().split()
    assert len(wanted) == 301
    assert [name for name in wanted if name not in FOUND.configs] == []
    assert len(configs) >= 600


def test_names_are_true(configs: dict[str, dict[str, Any]]) -> None:
    for text, values in configs.items():
        name = parse(text)
        assert name is not None and name.text == text
        assert values["model"]["name"] == name.model
        assert values["model"]["path"] == FOUND.models[name.model].path
        assert values["tuning"]["name"] == name.tuning
        assert [entry["path"] for entry in values["data"]] == [e["path"] for e in DATASETS[name.dataset].data]
        assert values["train"]["epochs"] == (name.epochs or DATASETS[name.dataset].epochs)
        assert (name.epochs is None) == DATASETS[name.dataset].example
        assert (name.variant == "gpu8") == (values["train"]["batch_size"] == 8 and name.dataset in EIGHT_GPUS)


EIGHT_GPUS = ("msagent_react", "moss_sft_all")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a_7b_chat_qlora_b_c_e3", Name("a_7b_chat", "qlora", "b_c", 3)),
        ("a_int8_lora_b_e1_hf", Name("a", "int8_lora", "b", 1, "hf")),
        ("a_lora_b_e2_gpu8", Name("a", "lora", "b", 2, "gpu8")),
        ("a_full_example", Name("a", "full", "example")),
        ("deepspeed_zero3_offload", None),
        ("qlora_b_e1", None),
    ],
)
def test_the_grammar(text: str, name: Name | None) -> None:
    assert parse(text) == name


def test_every_config_is_valid_and_names_what_exists(configs: dict[str, dict[str, Any]]) -> None:
    options_of = {name: set(inspect.signature(mapper).parameters) for name, mapper in FOUND.mappers.items()}
    for text, values in configs.items():
        config = Config.model_validate(values)
        spec = FOUND.models[config.model.name]
        FOUND.templates[config.template]
        FOUND.strategies[config.tuning.name](**config.tuning.options)
        FOUND.strategies[config.distributed if isinstance(config.distributed, str) else config.distributed.name]
        assert config.max_length <= spec.context, text
        for entry in config.data:
            assert entry.path and set(entry.options) <= options_of[entry.mapper], text


def test_every_setting_that_can_change_the_loss_is_written_out(configs: dict[str, dict[str, Any]]) -> None:
    sections = {
        "optimizer": {"name", "lr", "betas", "weight_decay", "max_grad_norm"},
        "schedule": {"name", "warmup_ratio", "min_lr"},
        "train": {"batch_size", "accumulate", "epochs"},
    }
    for values in configs.values():
        assert {"model", "template", "tuning", "data", "max_length", "pack", *sections} <= set(values)
        for section, keys in sections.items():
            assert keys <= set(values[section])
        if "rank" in FOUND.strategies[values["tuning"]["name"]].model_fields:
            assert {"rank", "alpha", "dropout", "targets"} <= set(values["tuning"])


def test_copies_and_dumps_load_the_same(configs: dict[str, dict[str, Any]]) -> None:
    for name in points(FOUND.models):
        values = configs[name]
        config = Config.model_validate(values)
        assert values_of(dump(values, docstring="A copy.", comments=COMMENTS)) == values
        dumped = dump(config.model_dump())
        assert Config.model_validate(values_of(dumped)) == config


def test_a_copy_loads_the_same_through_mmengine(tmp_path: Path) -> None:
    from xtune.names import load_config

    for text in ("internlm_7b_qlora_moss_sft_all_e1", "llama2_7b_qlora_msagent_react_e3_gpu8"):
        copy = tmp_path / f"{text}.py"
        copy.write_text(annotated(text), encoding="utf-8")
        assert load_config(copy) == load_config(text)
        (module,) = CONFIGS.rglob(f"{text}.py")
        assert load_config(module) == load_config(text)


def test_each_standard_point_is_a_config_or_has_a_reason(configs: dict[str, Any]) -> None:
    standard = points(FOUND.models)
    for model, spec in FOUND.models.items():
        offered = 0
        for tuning in STANDARD_TUNINGS:
            for dataset in STANDARD_DATASETS:
                reason = skip(spec, tuning, dataset)
                text = Name(model, tuning, dataset, DATASETS[dataset].epochs).text
                assert reason is None or len(reason) > 20
                assert text in configs and (reason is not None or text in standard)
                offered += reason is None
        assert offered, f"no standard config for {model}"


@pytest.mark.parametrize(
    ("model", "tuning", "dataset", "reason"),
    [
        ("qwen2_5_7b", "qlora", "openorca", None),
        ("qwen2_5_7b_instruct", "lora", "self_identity", None),
        ("llama3_8b", "full", "ultrachat_200k", None),
        ("qwen2_5_72b", "full", "alpaca", "more than eight GPUs of 80 GB"),
        ("qwen2_5_72b", "lora", "alpaca", "more than a GPU of 24 GB"),
        ("internlm_7b", "qlora", "ultrachat_200k", "later models"),
        ("qwen3_8b", "qlora", "ultrachat_200k", "more and better conversations"),
        ("qwen3_8b_base", "qlora", "self_identity", "not a base model"),
        ("qwen3_8b", "full", "medqa2019", "forget more"),
    ],
)
def test_what_is_left_out(model: str, tuning: str, dataset: str, reason: str | None) -> None:
    found = skip(FOUND.models[model], tuning, dataset)
    assert found is None if reason is None else reason in (found or "")


def test_a_new_model_is_one_entry() -> None:
    spec = FOUND.models["smollm2_135m"]
    names = points({"mine": spec} | {name: s for name, s in FOUND.models.items() if name != "mine"})
    assert {"mine_qlora_alpaca_e3", "mine_full_oasst1_e3", "mine_lora_ultrachat_200k_e1"} <= set(names)
    assert compose(names["mine_qlora_alpaca_e3"], spec)["model"]["name"] == "mine"


def test_every_template_and_mapper_is_used_or_has_a_reason(configs: dict[str, dict[str, Any]]) -> None:
    used = {values["template"] for values in configs.values()}
    assert set(FOUND.templates) - used == set(unused.TEMPLATES)
    used = {entry["mapper"] for dataset in DATASETS.values() for entry in dataset.data}
    assert set(FOUND.mappers) - used == set(unused.MAPPERS)


def test_prompts_are_asked_under_the_system_message_that_is_trained(configs: dict[str, dict[str, Any]]) -> None:
    """XTuner trained alpaca without the system message under which it asked."""
    for text, values in configs.items():
        entry = values["data"][0]
        mapper = FOUND.mappers[entry["mapper"]]
        if entry["mapper"] in ("openorca", "moss_sft", "msagent_react"):
            continue  # every row has its own
        example = examples(mapper)[0]
        turns = mapper(example.row, **{**example.options, **entry.get("options", {})}).turns
        trained = turns[0].text if turns[0].role == "system" else entry.get("system", "")
        if entry["mapper"] == "openai":
            trained = ""
        assert values["evaluation"]["system"] == trained, text


@pytest.mark.parametrize("stage", ["zero1", "zero2", "zero2_offload", "zero3", "zero3_offload"])
def test_deepspeed_files(stage: str) -> None:
    values = json.loads((CONFIGS / "deepspeed" / f"deepspeed_{stage}.json").read_text())
    zero = values.pop("zero_optimization")
    assert values == {
        "gradient_accumulation_steps": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_clipping": "auto",
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "fp16": {"enabled": "auto", "initial_scale_power": 16},
        "bf16": {"enabled": "auto"},
    }
    cpu = {"device": "cpu", "pin_memory": True}
    wanted: dict[str, Any] = {"stage": int(stage[4]), "overlap_comm": True}
    if stage.startswith("zero3"):
        wanted["stage3_gather_16bit_weights_on_model_save"] = True
    if stage.endswith("offload"):
        wanted["offload_optimizer"] = cpu
    if stage == "zero3_offload":
        wanted["offload_param"] = cpu
    assert zero == wanted


def test_configs_are_assignments_of_plain_values() -> None:
    for path in CONFIGS.rglob("*.py"):
        docstring, *rest = ast.parse(path.read_text(encoding="utf-8")).body
        assert isinstance(docstring, ast.Expr)
        assert all(isinstance(node, ast.Assign) for node in rest), path
