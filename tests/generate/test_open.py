"""Which template a chat uses: the stored one, the registry's, the tokenizer's own; another one is warned of."""

import json
import logging
import shutil
from pathlib import Path

import pytest

import xtune
from xtune.errors import ModelError, UnknownName
from xtune.generate.open import choose_template, open_session
from xtune.registries import components
from xtune.templates.store import save_template
from xtune.tuning import Lora


@pytest.fixture(scope="module")
def found():
    return components([])


@pytest.fixture
def adapter(tiny_model, found, tmp_path):
    model = Lora(rank=4).prepare(xtune.load_model(tiny_model))
    model.save_pretrained(tmp_path / "adapter")
    save_template(found.templates["chatml"], tmp_path / "adapter")
    return str(tmp_path / "adapter")


def test_the_stored_template_is_used(tiny_model, adapter, found):
    session = open_session(str(tiny_model), found, adapter=adapter)
    assert session.template == found.templates["chatml"]
    assert open_session(adapter, found).template == found.templates["chatml"]  # an adapter's folder names its base


@pytest.mark.parametrize("base", ["models/gone", "./gone", "/nowhere/gone"])
def test_a_base_that_is_not_where_the_adapter_says_is_named_with_the_cure(base, adapter, found, tmp_path, monkeypatch):
    file = Path(adapter, "adapter_config.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": base}))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    cure = rf"\(adapter {adapter} names this base; if it lies elsewhere: xtune chat BASE --adapter {adapter}\)$"
    with pytest.raises(ModelError, match=rf"{base}.*{cure}") as caught:
        open_session(adapter, found)
    assert "\n" not in str(caught.value)


def test_another_template_is_warned_of(tiny_model, adapter, found, caplog):
    tokenizer = xtune.load_tokenizer(tiny_model)
    with caplog.at_level(logging.WARNING):
        chosen = choose_template(str(tiny_model), adapter, "default", tokenizer, found)
    assert chosen == found.templates["default"]
    assert "trained with another chat template than default" in caplog.text
    caplog.clear()
    choose_template(str(tiny_model), adapter, "chatml", tokenizer, found)
    assert caplog.text == ""


def test_a_model_without_any_template_asks_for_one(tiny_model, found):
    tokenizer = xtune.load_tokenizer(tiny_model)
    with pytest.raises(ModelError, match="has no chat template; choose one with --prompt-template"):
        choose_template(str(tiny_model), None, None, tokenizer, found)
    with pytest.raises(UnknownName, match="unknown template: got `chatmll`; did you mean chatml"):
        choose_template(str(tiny_model), None, "chatmll", tokenizer, found)
    tokenizer.chat_template = "{{ messages }}"
    assert choose_template(str(tiny_model), None, None, tokenizer, found) is None


def test_a_known_hub_model_brings_the_registrys_template(tiny_model, found):
    name, spec = next((name, spec) for name, spec in found.models.items() if spec.template == "chatml")
    assert choose_template(spec.path, None, None, xtune.load_tokenizer(tiny_model), found) == found.templates["chatml"]


def test_an_adapter_without_weights_fails_before_the_model_is_loaded(adapter, found):
    shutil.rmtree(adapter)
    with pytest.raises(ModelError, match="adapter folder does not exist"):
        open_session("no/such-model", found, adapter=adapter)
