"""Any name of known parts is a config: each is read in one way, composes, and says which part is not known."""

from __future__ import annotations

from itertools import product

import pytest

import xtune
from xtune.catalogue import points
from xtune.catalogue.datasets import DATASETS
from xtune.catalogue.grammar import Catalogue
from xtune.catalogue.names import readings
from xtune.catalogue.tunings import OBJECTIVES, TUNINGS, VARIANTS
from xtune.config.validate import validate
from xtune.errors import ConfigError, DuplicateName, UnknownName
from xtune.models.spec import ModelSpec
from xtune.registries import Components
from xtune.registry import ConfigRegistry, Registry
from xtune.resolve import resolve

FOUND = Components([])
SEGMENTS = [f"{objective}_" if objective else "" for objective in OBJECTIVES]
ENDINGS = ["", "_e1", "_e12", *(f"_e3_{variant}" for variant in VARIANTS if variant)]
YOURS = [name for name, dataset in DATASETS.items() if dataset.yours]


def test_no_name_has_two_readings() -> None:
    count = 0
    for parts in product(FOUND.models, TUNINGS, SEGMENTS, DATASETS, ENDINGS):
        model, tuning, objective, dataset, ending = parts
        text = f"{model}_{tuning}_{objective}{dataset}{ending}"
        known = [name for name in readings(text) if name.model in FOUND.models and name.dataset in DATASETS]
        assert [(name.model, name.tuning, name.dataset, name.text) for name in known] == [
            (model, tuning, dataset, text)
        ]
        count += 1
    assert count > 80_000


def test_of_a_plugins_readings_the_longest_model_counts() -> None:
    models: Registry[ModelSpec] = Registry("model")
    facts = {"path": "a/b", "family": "f", "template": "default", "context": 2048, "licence": "MIT", "parameters": 7}
    for name in ("mine", "mine_full_sql", "mine_int8"):
        models.add(name, ModelSpec(**facts))  # type: ignore[arg-type]
    catalogue = Catalogue(lambda: models)
    for text, model, tuning in (
        ("mine_full_sql_lora_alpaca_e3", "mine_full_sql", "lora"),
        ("mine_full_sql_e3", "mine", "full"),
        ("mine_int8_lora_sql_e3", "mine_int8", "lora"),
    ):
        values = catalogue[text]
        assert (values["model"]["name"], values["tuning"]["name"]) == (model, tuning)


@pytest.mark.parametrize("epochs", [1, 2, 100, 999_999])
@pytest.mark.parametrize(("stem", "usual"), [("llama2_7b_lora_sql", 3), ("qwen3_8b_base_full_moss_sft_all", 1)])
def test_any_number_of_epochs_composes(stem: str, usual: int, epochs: int) -> None:
    listed = xtune.load_config(f"{stem}_e{usual}")
    config = xtune.load_config(f"{stem}_e{epochs}")
    assert config.train.epochs == epochs
    assert config.model_dump(exclude={"train": {"epochs"}}) == listed.model_dump(exclude={"train": {"epochs"}})


@pytest.mark.parametrize("name", ["yi_6b_lora_sql_e3_hf", "starcoder_full_stack_exchange_example_e2"])
def test_variants_and_examples_compose_for_every_model(name: str) -> None:
    assert name in FOUND.configs and name not in set(FOUND.configs)
    resolve(xtune.load_config(name), FOUND)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("qwen2_7x_qlora_alpaca_e3", "no model `qwen2_7x`; did you mean `qwen2_7b`?"),
        ("qwen2_7b_qlora_alpca_e3", "no data set `alpca`; did you mean `alpaca`?"),
        ("qwen2_7b_qlra_alpaca_e3", "no tuning `qlra`; did you mean `qlora`?"),
        ("internlm_chat_7b_qlra_alpaca_enzh_oasst1_e3", "no tuning `qlra`; did you mean `qlora`?"),
        ("zzz_full_alpaca_e3", "no model `zzz`; xtune list-models lists them"),
        ("qwen2_7b_full_zzz_e3", "no data set `zzz`; xtune list-cfg --group dataset lists them"),
        ("qwen2_7b_zzz_alpaca_e3", "no tuning `zzz`; xtune list-strategies lists them"),
        ("qwen2_7x_qlora_zzz_e3", "no model `qwen2_7x`; did you mean `qwen2_7b`?"),
        *(
            (
                f"qwen2_7b_full_alpaca{end}",
                f"unknown config: got `qwen2_7b_full_alpaca{end}`; did you mean qwen2_7b_full_alpaca_e3?",
            )
            for end in ("", "_e0", "_e03", "_e3_gpu9", "_e1000000")
        ),
        ("deepspeed_zero4", "unknown config: got `deepspeed_zero4`; did you mean deepspeed_zero"),
        ("something_else", "unknown config: got `something_else`; none of the 18"),
    ],
)
def test_what_is_not_known_is_named_with_what_is_nearest(text: str, message: str) -> None:
    assert text not in FOUND.configs
    with pytest.raises(UnknownName) as error:
        xtune.load_config(text)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)
    assert FOUND.configs.get(text) is None


def test_a_file_inherits_from_a_name_that_only_composes(tmp_path) -> None:
    (tmp_path / "mine.py").write_text('_base_ = "yi_6b_lora_sql_e2"\ntrain = dict(batch_size=3)\n')
    config = xtune.load_config(tmp_path / "mine.py")
    assert config == xtune.load_config("yi_6b_lora_sql_e2", {"train.batch_size": 3})


def test_your_own_data_goes_with_every_model_and_tuning() -> None:
    assert {"custom_sft", "custom_pretrain", "json"} == set(YOURS)
    listed = set(FOUND.configs)
    for model, tuning, dataset in product(FOUND.models, TUNINGS, YOURS):
        name = f"{model}_{tuning}_{dataset}_e{DATASETS[dataset].epochs}"
        assert name in FOUND.configs and name not in listed
        config = validate(FOUND.configs[name], name)
        with pytest.raises(ConfigError) as error:
            resolve(config, FOUND)
        assert str(error.value) == (
            f"the config's data has no path: got only mapper `{DATASETS[dataset].data[0]['mapper']}`; "
            "pass --data FILE [--mapper NAME]"
        )
    assert resolve(xtune.load_config(name, {"data.0.path": "mine.jsonl"}), FOUND).config.data[0].path == "mine.jsonl"


def test_what_is_composed_is_the_callers_to_change() -> None:
    name = "llama2_70b_qlora_open_platypus_e1"
    values = FOUND.configs[name]
    values["tuning"]["targets"].append("x")
    values["data"][0]["path"] = "x"
    assert values != FOUND.configs[name] == Components([]).configs[name]


def plugin_configs() -> ConfigRegistry:
    """The configs of an xtune to which a plugin adds the model plugmodel."""
    models: Registry[ModelSpec] = Registry("model")
    models.add("llama2_7b", FOUND.models["llama2_7b"])
    models.adding = "xtune-plug"
    models.add("plugmodel", FOUND.models["smollm2_135m"])
    configs = ConfigRegistry(lambda: models)
    configs.grammar = Catalogue(configs.models)
    configs.adding = "xtune-plug"
    return configs


def test_a_plugins_model_composes_with_the_built_in_data_sets() -> None:
    configs = plugin_configs()
    assert configs["plugmodel_qlora_alpaca_e3"]["model"]["name"] == "plugmodel"
    assert {"plugmodel_full_sql_e3", "llama2_7b_full_sql_e3"} <= set(configs)
    assert "plugmodel_qlora_oasst1_e3" in points.browsed(configs.models())


def test_a_plugins_file_may_stand_for_its_own_model_only(tmp_path) -> None:
    configs = plugin_configs()
    file = tmp_path / "plugmodel_qlora_alpaca_e3.py"
    configs.add(file.stem, file)
    assert configs[file.stem] == file and list(configs).count(file.stem) == 1
    with pytest.raises(DuplicateName, match="'llama2_7b_lora_sql_e7' is registered twice: by xtune and by xtune-plug"):
        configs.add("llama2_7b_lora_sql_e7", file)


def test_each_page_has_the_models_nearest_to_the_usual_size() -> None:
    names = points.browsed(FOUND.models)
    page = sorted(text for text, name in names.items() if FOUND.models[name.model].family == "qwen3")
    assert page == [
        "qwen3_8b_base_full_ultrachat_200k_e1",
        "qwen3_8b_base_qlora_oasst1_e3",
        "qwen3_8b_lora_self_identity_e5",
        "qwen3_8b_qlora_alpaca_e3",
    ]
