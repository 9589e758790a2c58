"""`xtune new-plugin NAME`: writes a plugin that installs, works and has tests, to be changed."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from xtune.errors import PluginError


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="of the new distribution, such as my-clinic")
    parser.add_argument("--dir", metavar="DIR", default=".", help="where its folder goes (default: here)")
    parser.add_argument("--force", action="store_true", help="replace a folder that is there")


def run(args: Namespace) -> int:
    from xtune.export.folder import whole_folder

    files = plugin_files(args.name)
    target = Path(args.dir, args.name)
    with whole_folder(target, force=args.force) as folder:
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    print(f"{target}: install it with pip install -e {target}, then run python -m pytest {target}")
    return 0


def plugin_files(name: str) -> dict[str, str]:
    """The files of a new plugin by their paths in its folder. Raises PluginError for a name that cannot be used."""
    from string import Template

    from xtune import __version__
    from xtune.commands.plugin_files import FILES

    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise PluginError(
            f"a plugin's name has small letters, digits and single hyphens: got `{name}`",
            "take a name such as my-templates",
        )
    package = name.replace("-", "_")
    short = package.removeprefix("xtune_")
    check_free(name, package, short)
    words = {"name": name, "package": package, "short": short, "version": __version__}
    return {Template(path).substitute(words): Template(text).substitute(words) for path, text in FILES.items()}


def check_free(name: str, package: str, short: str) -> None:
    """Raises PluginError where Python, an installed package that is not this plugin, or xtune has that name already."""
    from importlib.util import find_spec
    from keyword import iskeyword

    from xtune.commands import components
    from xtune.plugins.discover import find

    if iskeyword(short) or not short.isidentifier():
        raise PluginError(
            f"components cannot be called that in Python: got `{short}`", "take a name such as my-templates"
        )
    found = components([])
    for registry in (found.templates, found.mappers, found.commands):
        if short in registry:
            raise PluginError(f"{registry.kind} `{short}` is built in: got that name for a plugin", f"try my-{short}")
    own = {entry.dist.name for entry in find() if entry.dist is not None}
    if name not in own and (package in sys.stdlib_module_names or getattr(find_spec(package), "origin", None)):
        raise PluginError(f"there is a module of that name: got `{package}`", f"try xtune-{package}")
