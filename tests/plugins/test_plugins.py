"""Every way that a plugin comes in, and every way that it can be wrong: one line, which names the distribution."""

import sys
import textwrap
from importlib.metadata import EntryPoint

import pytest

import xtune
from xtune import cli
from xtune.commands import components
from xtune.errors import DuplicateName, PluginError, XtuneError
from xtune.plugins.checks import HOOKS
from xtune.plugins.hookspecs import API_VERSION

HEAD = "import xtune\nhook = xtune.hookimpl\n"
WAY_OUT = "uninstall xtune-hello, or set XTUNE_PLUGINS= to load no plugin"


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Writes a distribution with one plugin module and makes it importable and discoverable."""
    monkeypatch.delenv("XTUNE_PLUGINS", raising=False)
    written = set()

    def write(source: str, name: str = "xtune-hello", version: str = "1.2", requires: str = "") -> None:
        module = name.replace("-", "_")
        written.add(module)
        site = tmp_path / version
        info = site / f"{module}-{version}.dist-info"
        info.mkdir(parents=True)
        (site / f"{module}.py").write_text(HEAD + textwrap.dedent(source))
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_text(metadata + (f"Requires-Dist: {requires}\n" if requires else ""))
        (info / "entry_points.txt").write_text(f"[xtune]\n{module}_entry = {module}\n")
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.delitem(sys.modules, module, raising=False)

    yield write
    for module in written:
        sys.modules.pop(module, None)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes the config package `clinic.configs`."""

    def write(**files: str) -> None:
        folder = tmp_path / "packages" / "clinic" / "configs"
        folder.mkdir(parents=True)
        (folder.parent / "__init__.py").write_text("")
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path / "packages"))

    yield write
    sys.modules.pop("clinic", None)


WHOLE = """
    @hook
    def register_models(models):
        facts = dict(family="hello", template="hello", context=9, licence="MIT", parameters=1)
        models.add("hello_1b", xtune.ModelSpec(path="owner/hello", **facts))
    @hook
    def register_templates(templates): templates.add("hello", xtune.ChatTemplate(user="{text}"))
    @hook
    def register_sources(sources): sources.add(".hello", lambda file, label: iter(()))
    @hook
    def register_mappers(mappers): mappers.add("hello", lambda row: 1 / 0)
    @hook
    def register_callbacks(callbacks): callbacks.add("hello", type("Hello", (xtune.Callback,), {}))
    @hook
    def register_strategies(strategies): strategies.add("hello", type("Hello", (xtune.Tuning,), {}))
    @hook
    def register_commands(commands): commands.add("hello", commands["plugins"])
"""


def test_a_plugin_adds_to_every_registry(plugin):
    plugin(WHOLE)
    found = components()
    for registry in (found.templates, found.mappers, found.strategies, found.callbacks, found.commands):
        assert registry.owner("hello") == "xtune-hello"
    assert found.sources.owner(".hello") == "xtune-hello"
    assert found.models.owner("hello_1b") == "xtune-hello" and found.models.owner("llama_7b") == "xtune"
    (loaded,) = (p for p in found.plugins if p.name == "xtune-hello")
    assert loaded.version == "1.2" and len(loaded.hooks) == 7


def test_xtune_plugins_chooses_by_distribution_or_entry_point(plugin, monkeypatch):
    plugin("@hook\ndef register_models(models): ...")
    plugin("raise RuntimeError('imported')", name="xtune-other", version="3")
    for chosen, loaded in (
        ("", []),
        ("xtune-hello", ["xtune-hello"]),
        (" xtune_hello_entry, ", ["xtune-hello"]),
        ("Xtune.Hello", ["xtune-hello"]),
    ):
        monkeypatch.setenv("XTUNE_PLUGINS", chosen)
        assert [found.name for found in components().plugins] == loaded
    monkeypatch.setenv("XTUNE_PLUGINS", "xtune-hello,xtune-other")
    with pytest.raises(PluginError, match="plugin xtune-other cannot be imported: RuntimeError: imported"):
        components()
    monkeypatch.setenv("XTUNE_PLUGINS", "xtune-helo")
    with pytest.raises(PluginError, match=r"not installed: got `xtune-helo`; did you mean xtune-hello"):
        components()


WRONG = {
    "import error": (
        "import no_such_module",
        r"cannot be imported: ModuleNotFoundError: No module named 'no_such_module'; install another version of it",
    ),
    "base exception at import": (
        "class Odd(BaseException):\n def __str__(self): raise ValueError\nraise Odd",
        "cannot be imported: Odd; install another version of it",
    ),
    "attributes that fail": (
        "def __getattr__(name): raise RuntimeError(name)",
        "cannot be checked: RuntimeError: register_models; install another version of it",
    ),
    "exit at import": ("raise SystemExit(3)", "cannot be imported: SystemExit: 3; install another version of it"),
    "misspelt hook": (
        "@hook\ndef register_modles(models): ...",
        "has a hook that xtune does not know: got `register_modles`; rename it to register_models or .*",
    ),
    "wrong argument": (
        "@hook\ndef register_models(registry): ...",
        r"has a hook with wrong arguments: got register_models\(registry\); write register_models\(models\)",
    ),
    "no argument": (
        "@hook\ndef register_mappers(): ...",
        r"has a hook with wrong arguments: got register_mappers\(\); write register_mappers\(mappers\)",
    ),
    "no mark": (
        "def register_models(models): ...",
        "has register_models without a mark; write @xtune.hookimpl above it",
    ),
    "no hook": ("", f"implements no hook; give it one of {', '.join(HOOKS)}"),
    "what only pluggy sees": (
        "@xtune.hookimpl(wrapper=True)\ndef register_models(models): ...",
        "does not fit the hooks: .*wrapper.*; install another version of it",
    ),
}


@pytest.mark.parametrize(("source", "message"), WRONG.values(), ids=WRONG)
def test_a_plugin_that_cannot_be_loaded_is_told_in_one_line(plugin, capsys, source, message):
    plugin(source)
    with pytest.raises(PluginError, match=f"^plugin xtune-hello {message}, {WAY_OUT}$"):
        components()
    assert cli.main(["list-models"]) == 2
    assert capsys.readouterr().err.startswith("xtune: error: plugin xtune-hello ")


FAILING = {
    "exit": (
        "models",
        "@hook\ndef register_models(models): raise SystemExit(3)",
        "failed in register_models: SystemExit: 3; install another version of it",
    ),
    "exception": (
        "mappers",
        "@hook\ndef register_mappers(mappers): 1 / 0",
        "failed in register_mappers: ZeroDivisionError: division by zero; install another version of it",
    ),
    "an error of ours": (
        "templates",
        "@hook\ndef register_templates(templates): templates['chatmll']",
        "failed in register_templates: UnknownName: unknown template: got `chatmll`; did you mean chatml.*of it",
    ),
    "model": (
        "models",
        "@hook\ndef register_models(models): models.add('m', 'owner/name')",
        "adds model 'm' of a wrong type: got str; add an xtune.ModelSpec",
    ),
    "template": (
        "templates",
        "@hook\ndef register_templates(templates): templates.add('t', '{text}')",
        "adds template 't' of a wrong type: got str; add an xtune.ChatTemplate",
    ),
    "mapper": (
        "mappers",
        "@hook\ndef register_mappers(mappers): mappers.add('m', {})",
        "adds mapper 'm' of a wrong type: got dict; add a function from a row to an xtune.Conversation",
    ),
    "strategy": (
        "strategies",
        "@hook\ndef register_strategies(strategies): strategies.add('s', dict)",
        "adds strategy 's' of a wrong type: got type; add a subclass of xtune.Tuning or xtune.Distributed",
    ),
    "callback": (
        "callbacks",
        "@hook\ndef register_callbacks(callbacks): callbacks.add('c', print)",
        "adds callback 'c' of a wrong type: got builtin_function_or_method; add a subclass of xtune.Callback",
    ),
    "source": (
        "sources",
        "@hook\ndef register_sources(sources): sources.add('.c', '.csv')",
        "adds source '.c' of a wrong type: got str; add a function from a file and its label to rows",
    ),
    "config": (
        "configs",
        "@hook\ndef register_configs(configs): configs.add('c', {})",
        "adds config 'c' of a wrong type: got dict; add a package, with configs.add_package",
    ),
    "command": (
        "commands",
        "import json\n@hook\ndef register_commands(commands): commands.add('c', json)",
        "adds command 'c' of a wrong type: got module; add a module with HELP, add_arguments.parser. and run.args.",
    ),
}


@pytest.mark.parametrize(("kind", "source", "message"), FAILING.values(), ids=FAILING)
def test_a_plugin_that_fails_while_it_adds_is_told_in_one_line(plugin, kind, source, message):
    plugin(source)
    with pytest.raises(PluginError, match=f"^plugin xtune-hello {message}, {WAY_OUT}$"):
        getattr(components(), kind)


@pytest.mark.parametrize("name", ["sqlite", ".SQLITE", ".tar.zst", ".gz", ""])
def test_a_source_goes_by_what_a_file_can_end_with(plugin, name):
    plugin(f"@hook\ndef register_sources(sources): sources.add({name!r}, print)")
    with pytest.raises(PluginError, match=f"^source `{name}` of xtune-hello is no suffix of a file; write one like "):
        components().sources  # noqa: B018


def test_a_taken_name_names_both(plugin):
    plugin("@hook\ndef register_mappers(mappers): mappers.add('alpaca', len)")
    with pytest.raises(
        DuplicateName, match="mapper 'alpaca' is registered twice: by xtune and by xtune-hello; turn one"
    ):
        components().mappers  # noqa: B018


def test_a_name_that_two_plugins_add_names_both(plugin):
    source = "@hook\ndef register_mappers(mappers): mappers.add('mine', len)"
    plugin(source)
    plugin(source, name="xtune-other", version="3")
    with pytest.raises(
        DuplicateName, match="'mine' is registered twice: by xtune-hello and by xtune-other; turn one off"
    ):
        components().mappers  # noqa: B018


def test_a_plugin_that_asks_for_another_xtune_is_refused(plugin):
    plugin("raise RuntimeError('imported')", requires="xtune>=9,<10")
    message = (
        f"^plugin xtune-hello 1.2 needs xtune <10,>=9: got xtune {xtune.__version__}; "
        f"install another version of xtune or of xtune-hello, {WAY_OUT}$"
    )
    with pytest.raises(PluginError, match=message):
        components()


@pytest.mark.parametrize("requires", ["xtune>=0.0.1", "xtune", "xtune-other>=9", "xtune>=9; extra == 'new'"])
def test_a_requirement_that_is_met_or_not_ours_is_no_hindrance(plugin, requires):
    plugin("@hook\ndef register_models(models): ...", requires=requires)
    assert [found.name for found in components().plugins] == ["xtune-hello"]


def test_two_versions_at_once_are_refused_with_their_places(plugin, tmp_path):
    plugin("@hook\ndef register_models(models): ...")
    plugin("@hook\ndef register_models(models): ...", version="2.0")
    message = (
        f"^plugin xtune-hello is installed in 2 versions at once: got `1.2 in {tmp_path}/1.2 and 2.0 "
        f"in {tmp_path}/2.0`; "
        f"uninstall all but one, {WAY_OUT}$"
    )
    with pytest.raises(PluginError, match=message):
        components()


CONFIGS = "@hook\ndef register_configs(configs): configs.add_package('clinic.configs')"
GOOD = """
model = dict(name="llama_7b", path="owner/name")
template = "default"
tuning = dict(name="lora")
data = [dict(path="rows.json")]
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "model = dict(",
            r"config .*clinic/configs/mine.py of plugin xtune-hello, line 1: '\(' was never closed; xtune",
        ),
        ("1 / 0", "config .*mine.py of plugin xtune-hello cannot be run: ZeroDivisionError: division by zero; xtune"),
        (GOOD + "trian = {}", "^.*mine.py of plugin xtune-hello: unknown key: got `trian`; did you mean train"),
    ],
    ids=["syntax", "exception", "key"],
)
def test_a_broken_config_is_listed_but_names_its_plugin_when_read(plugin, package, text, message, capsys):
    plugin(CONFIGS)
    package(mine=text, good=GOOD)
    assert "mine" in xtune.list_configs() and xtune.load_config("good").template == "default"
    with pytest.raises(XtuneError, match=message):
        xtune.load_config("mine")
    assert cli.main(["plugins"]) == 2
    out = capsys.readouterr().out
    assert "configs: good, mine" in out and out.count("\nnot loaded: ") == 1 and "of plugin xtune-hello" in out


def test_a_config_package_that_is_not_there_is_refused(plugin):
    plugin(CONFIGS)
    with pytest.raises(PluginError, match="config package `clinic.configs` of xtune-hello .*No module named 'clinic'"):
        components().configs  # noqa: B018


def test_a_config_package_whose_parent_fails_is_refused(plugin, package, tmp_path):
    plugin(CONFIGS)
    package(mine=GOOD)
    (tmp_path / "packages" / "clinic" / "__init__.py").write_text("1 / 0")
    with pytest.raises(PluginError, match="plugin xtune-hello failed in register_configs: ZeroDivisionError"):
        components().configs  # noqa: B018


def test_xtune_plugins_lists_what_is_there_and_what_is_wrong(plugin, capsys):
    plugin(WHOLE)
    plugin("import no_such_module", name="xtune-other", version="3")
    plugin("@hook\ndef register_mappers(mappers): mappers.add('hello', len)", name="xtune-third", version="4")
    assert cli.main(["plugins"]) == 2
    first, hooks, *rest = capsys.readouterr().out.splitlines()
    assert first == f"xtune {xtune.__version__}, plugin API {API_VERSION}"
    assert hooks.startswith("xtune-hello 1.2: register_callbacks, register_commands, ")
    assert rest[:7] == [
        "    models: hello_1b",
        "    templates: hello",
        "    sources: .hello",
        "    mappers: hello",
        "    strategies: hello",
        "    callbacks: hello",
        "    commands: hello",
    ]
    assert [line.partition(";")[0] for line in rest[7:]] == [
        "not loaded: plugin xtune-other cannot be imported: ModuleNotFoundError: No module named 'no_such_module'",
        "not loaded: mapper 'hello' is registered twice: by xtune-hello and by xtune-third",
    ]


def test_xtune_plugins_without_plugins(monkeypatch, capsys):
    monkeypatch.setenv("XTUNE_PLUGINS", "")
    assert cli.main(["plugins"]) == 0
    assert capsys.readouterr().out.endswith("no plugins are installed, or XTUNE_PLUGINS turns all off\n")


def test_registries_are_fresh_each_time():
    first, second = components([]), components([])
    first.mappers.add("mine", len)
    assert "mine" not in second.mappers


def test_an_entry_point_without_a_distribution_goes_by_its_own_name():
    entry = EntryPoint("nameless", "no_such_module", "xtune")
    with pytest.raises(PluginError, match="plugin nameless cannot be imported"):
        components([entry])


def test_a_distribution_that_lost_its_metadata_goes_by_its_entry_point(plugin, tmp_path):
    plugin("import no_such_module")
    (tmp_path / "1.2" / "xtune_hello-1.2.dist-info" / "METADATA").unlink()
    with pytest.raises(PluginError, match="plugin xtune_hello_entry cannot be imported: ModuleNotFoundError"):
        components()


@pytest.mark.parametrize("text", ["[xtune]\nodd", "[xtune\n", "odd = odd"])
def test_a_damaged_list_of_entry_points_is_named(text, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "odd-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    code = cli.main(["list-objectives"])
    err = capsys.readouterr().err
    assert code in (0, 2) and err.count("\n") == 2 * (code == 2)
    assert code == 0 or err.startswith("xtune: error: plugin odd has entry points that cannot be read: ")
    monkeypatch.setenv("XTUNE_PLUGINS", "")
    assert cli.main(["list-objectives"]) == 0
