"""`xtune plugins`: the plugins that are installed, what each one added, and what could not be loaded."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from importlib.metadata import EntryPoint

from xtune.commands import BUILTINS
from xtune.errors import ConfigError, DuplicateName, PluginError
from xtune.plugins.checks import KINDS, Plugin
from xtune.plugins.discover import find, load_plugin
from xtune.registries import Components
from xtune.text import one_line


def add_arguments(parser: ArgumentParser) -> None:
    del parser  # takes nothing


def run(args: Namespace) -> int:
    """Exit code 2 where something could not be loaded."""
    from xtune import __version__
    from xtune.plugins.hookspecs import API_VERSION

    print(f"xtune {__version__}, plugin API {API_VERSION}")
    loaded: list[Plugin] = []
    problems: list[str] = []
    entries = find()
    for entry in entries:
        problems += show(entry, loaded)
    if not entries:
        print("no plugins are installed, or XTUNE_PLUGINS turns all off")
    for problem in problems:
        print(f"not loaded: {one_line(problem, 2000)}")
    return 2 if problems else 0


def show(entry: EntryPoint, loaded: list[Plugin]) -> list[str]:
    """Prints what the plugin of an entry point adds to those that are `loaded`, and joins it to them.

    Returns what could not be loaded: the plugin as a whole, or single configs of it.
    """
    try:
        plugin = load_plugin(entry)
        found = Components([*loaded, plugin], BUILTINS)
        registries = {kind: getattr(found, kind) for kind in KINDS}
    except (PluginError, DuplicateName) as error:
        return [str(error)]
    loaded.append(plugin)
    print(f"{plugin.name} {plugin.version}: {', '.join(plugin.hooks)}")
    for kind, registry in registries.items():
        added = registry.added_by(plugin.name)
        if added:
            print(f"    {kind}: {', '.join(added)}")
    return broken_configs(found, plugin)


def broken_configs(found: Components, plugin: Plugin) -> list[str]:
    """Errors of the plugin's configs that cannot be read, or have unknown keys or wrong values."""
    from xtune.config.files import Reader
    from xtune.config.validate import validate

    problems = []
    for path in found.configs.added_by(plugin.name).values():
        if path.suffix == ".py":
            where = f"{path} of plugin {plugin.name}"
            try:
                validate(Reader(found.configs, trusted=True).read(path, where), where)
            except ConfigError as error:
                problems.append(str(error))
    return problems
