"""Every way that a plugin comes in, and every way that it can be wrong."""

import sys
import textwrap
from importlib.metadata import EntryPoint

import pytest

from xtune.errors import DuplicateName, PluginError
from xtune.plugins import components


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Writes a distribution with one plugin module and makes it importable and discoverable."""

    def write(source: str, name: str = "xtune-hello") -> str:
        module = name.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))
        info = tmp_path / f"{module}-1.2.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[xtune]\n{module} = {module}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.delenv("XTUNE_PLUGINS", raising=False)
        return name

    return write


def test_a_plugin_adds_to_every_registry(plugin):
    plugin("""
        import xtune
        @xtune.hookimpl
        def register_models(models): models.add("hello_1b", "a model")
        @xtune.hookimpl
        def register_templates(templates): templates.add("hello", "a template")
        @xtune.hookimpl
        def register_mappers(mappers): mappers.add("hello", "a mapper")
        @xtune.hookimpl
        def register_strategies(strategies): strategies.add("hello", "a strategy")
        @xtune.hookimpl
        def register_commands(commands): commands.add("hello", "a command")
    """)
    found = components()
    for registry in (found.templates, found.mappers, found.strategies, found.commands):
        assert registry["hello"].startswith("a ") and registry.owner("hello") == "xtune-hello"
    assert found.models.owner("hello_1b") == "xtune-hello"
    (loaded,) = (p for p in found.plugins if p.name == "xtune-hello")
    assert loaded.version == "1.2" and len(loaded.hooks) == 5


def test_xtune_plugins_chooses(plugin, monkeypatch):
    plugin("raise RuntimeError('imported')")
    monkeypatch.setenv("XTUNE_PLUGINS", "")
    assert components().plugins == []
    monkeypatch.setenv("XTUNE_PLUGINS", "xtune-helo")
    with pytest.raises(PluginError, match=r"not installed: got 'xtune-helo'; did you mean xtune-hello"):
        components()
    monkeypatch.setenv("XTUNE_PLUGINS", "xtune-hello")
    with pytest.raises(PluginError, match="RuntimeError: imported"):
        components()


def test_an_import_error_names_the_distribution_and_the_way_out(plugin):
    plugin("import no_such_module")
    with pytest.raises(PluginError, match=r"plugin xtune-hello cannot be imported: ModuleNotFoundError.*XTUNE_PLUG"):
        components()


def test_a_misspelt_hook_is_refused_with_the_nearest(plugin):
    plugin("""
        import xtune
        @xtune.hookimpl
        def register_modles(models): ...
    """)
    with pytest.raises(PluginError, match=r"plugin xtune-hello does not fit the hooks.*did you mean register_models"):
        components()


def test_a_wrong_argument_is_refused(plugin):
    plugin("""
        import xtune
        @xtune.hookimpl
        def register_models(registry): ...
    """)
    with pytest.raises(PluginError, match="plugin xtune-hello does not fit the hooks.*registry"):
        components()


def test_an_exception_in_a_hook_names_the_plugin(plugin):
    plugin("""
        import xtune
        @xtune.hookimpl
        def register_mappers(mappers): 1 / 0
    """)
    with pytest.raises(PluginError, match="plugin xtune-hello failed in register_mappers: ZeroDivisionError"):
        components().mappers  # noqa: B018


def test_a_taken_name_names_both(plugin):
    plugin("""
        import xtune
        @xtune.hookimpl
        def register_mappers(mappers): mappers.add("alpaca", None)
    """)
    with pytest.raises(DuplicateName, match="mapper 'alpaca' is registered twice: by xtune and by xtune-hello"):
        components().mappers  # noqa: B018


def test_registries_are_fresh_each_time():
    first, second = components([]), components([])
    first.mappers.add("mine", None)
    assert "mine" not in second.mappers


def test_an_entry_point_without_a_distribution_goes_by_its_own_name():
    entry = EntryPoint("nameless", "no_such_module", "xtune")
    with pytest.raises(PluginError, match="plugin nameless cannot be imported"):
        components([entry])
