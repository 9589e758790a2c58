"""Registries are strict mappings that know who added what."""

import pytest

from xtune.errors import DuplicateName, PluginError, UnknownName, XtuneError
from xtune.registry import ConfigRegistry, Registry


def test_a_registry_is_a_mapping_with_owners():
    models = Registry("model")
    models.add("llama_7b", 1)
    models.adding = "xtune-hello"
    models.add("hello_1b", 2)
    assert dict(models) == {"llama_7b": 1, "hello_1b": 2}
    assert models.owner("llama_7b") == "xtune"
    assert models.owner("hello_1b") == "xtune-hello"
    assert models.get("absent") is None and "absent" not in models


def test_an_unknown_name_lists_the_nearest():
    models = Registry("model")
    for name in ("internlm_7b", "internlm_20b", "llama_7b"):
        models.add(name, object())
    with pytest.raises(UnknownName, match=r"unknown model: got `internlm_7B`; did you mean internlm_7b") as caught:
        models["internlm_7B"]
    assert isinstance(caught.value, XtuneError)
    with pytest.raises(UnknownName, match="choose one of internlm_20b, internlm_7b, llama_7b"):
        models["zzz"]
    with pytest.raises(UnknownName, match="there are none"):
        Registry("model")["x"]


def test_a_taken_name_names_both_owners():
    models = Registry("model")
    models.add("llama_7b", 1)
    models.adding = "xtune-hello"
    with pytest.raises(DuplicateName, match=r"model 'llama_7b' is registered twice: by xtune and by xtune-hello; turn"):
        models.add("llama_7b", 2)


def test_configs_are_found_by_file_name_without_running_them(tmp_path, monkeypatch):
    package = tmp_path / "clinic" / "configs" / "deep"
    package.mkdir(parents=True)
    (tmp_path / "clinic" / "__init__.py").write_text("")
    (package / "one.py").write_text("raise SystemExit('a config was run')")
    (package / "zero.json").write_text("{}")
    (package / "_part.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    configs = ConfigRegistry()
    configs.add_package("clinic.configs")
    assert sorted(configs) == ["one", "zero"]
    assert configs["one"] == package / "one.py"


@pytest.mark.parametrize("package", ["no_such_package.configs", "string"])
def test_a_config_package_that_is_not_there_is_an_error(package):
    with pytest.raises(PluginError, match=f"config package `{package}` of xtune"):
        ConfigRegistry().add_package(package)
