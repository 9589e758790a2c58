"""A config file and the files that it inherits from -> plain values."""

from __future__ import annotations

import ast
import os
import re
import stat
from pathlib import Path
from typing import Any

from xtune.config.literals import BASE, COMPARE, Bases, NotData, read_assignments
from xtune.config.plain import plain
from xtune.errors import ConfigError
from xtune.foreign import foreign, parse_json
from xtune.registry import ConfigRegistry
from xtune.text import shown

SUFFIXES = (".py", ".yaml", ".yml", ".json")
MAX_BYTES = 2**20
MAX_FILES = 100
DELETE = "_delete_"
PLACEHOLDER = re.compile(
    r"\{\{\s*(['\"]?\s*\$\w+|file(Dirname|Basename|BasenameNoExtension|Extname)\b|_base_\.)[^}]*\}\}"
)
"""What mmengine replaces in the text of a config before it reads it."""
TRUST = "write plain values, or run a file that you trust as Python with --trust-config (trust_config=True)"


class Reader:
    """Reads one config with all that it inherits from.

    `named` are the registered configs: `_base_` may name one, and those, which are installed code, may be Python
    programs, as may what they inherit from. Other files are data, unless all are `trusted`.
    """

    def __init__(self, named: ConfigRegistry, *, trusted: bool) -> None:
        self.named = named
        self.trusted = trusted
        self.files = 0

    def read(self, path: Path, where: str = "", above: tuple[str, ...] = (), trusted: bool = False) -> dict[str, Any]:
        """The values of `path`, those of its `_base_` files merged in. `above` are the files that inherit from it.

        Raises ConfigError, one line that names the file (`where`, in place of the path) and the line.
        """
        where, real = where or str(path), os.path.realpath(path)
        self.files += 1
        if real in above or self.files > MAX_FILES:
            problem = "inherits from itself" if real in above else f"inherits from more than {MAX_FILES} files"
            raise ConfigError(f"config {where} {problem}", f"take that `{BASE}` out")
        text = read_text(path, where)
        trusted = trusted or self.trusted or path in self.named.files.values()
        bases: dict[str, Any] = {}

        def merge_bases(names: Any) -> dict[str, Any]:
            bases.update(self._bases(names, path, (*above, real), trusted))
            return bases

        values = _own_values(path, where, text, merge_bases, trusted)
        if "custom_imports" in values:
            raise ConfigError(
                f"config {where} has `custom_imports`, which is never imported",
                "write a plugin (xtune new-plugin NAME)",
            )
        with foreign(f"config {where}", ConfigError, COMPARE):
            return inherit(plain(values), bases, where)

    def _bases(self, names: Any, path: Path, above: tuple[str, ...], trusted: bool) -> dict[str, Any]:
        """The values of all files that `_base_` names. No two of them may set the same key."""
        merged: dict[str, Any] = {}
        for name in names if isinstance(names, (list, tuple)) else [names]:
            if not isinstance(name, str):
                raise ConfigError(
                    f"config {path}: `{BASE}` should be a path, a name or a list of them: got `{shown(name)}`",
                    f'write {BASE} = "FILE.py"',
                )
            file = path.parent / Path(name).expanduser() if name.endswith(SUFFIXES) else self.named[name]
            base = file if isinstance(file, dict) else self.read(file, above=above, trusted=trusted)
            if twice := sorted(merged.keys() & base.keys()):
                raise ConfigError(
                    f"config {path}: two files of `{BASE}` set `{twice[0]}`", "take it out of one of them"
                )
            merged |= base
        return merged


def read_text(path: Path, where: str) -> str:
    """The text of a config file. Raises ConfigError for what is no file, too large or not UTF-8."""
    hint = "give a file, or a name from xtune list-cfg"
    with foreign(f"config {where} cannot be read", ConfigError, hint):
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ConfigError(f"config {where} is not a file", hint)
        with open(path, encoding="utf-8-sig") as file:
            text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise ConfigError(f"config {where} has more than {MAX_BYTES:,} characters", hint)
    if found := PLACEHOLDER.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise ConfigError(f"config {where}, line {line}: `{found[0]:.60}` is not filled in by xtune", "write the value")
    return text


def inherit(child: dict[str, Any], base: dict[str, Any], where: str) -> dict[str, Any]:
    """`base` with the values of `child`: sections are merged key by key, anything else takes the place of what was.

    `_delete_=True` in a section of `child` takes its place as a whole.
    """
    merged = dict(base)
    for key, value in child.items():
        if isinstance(value, dict):
            kept = {} if value.get(DELETE) else base.get(key, {})
            if not isinstance(kept, dict):
                raise ConfigError(
                    f"config {where}: `{key}` is a section here, and {shown(kept)} in `{BASE}`",
                    f"write {DELETE}=True into the section to replace that",
                )
            merged[key] = inherit({name: part for name, part in value.items() if name != DELETE}, kept, where)
        else:
            merged[key] = value
    return merged


def _own_values(path: Path, where: str, text: str, merge_bases: Bases, trusted: bool) -> dict[str, Any]:
    """What the file itself says; `merge_bases` is called with what stands at its `_base_`."""
    if path.suffix == ".py":
        try:
            return read_assignments(text, where, merge_bases)
        except NotData as error:
            if not trusted:
                raise ConfigError(f"{error}{_missing(text)}", TRUST) from error
        from xtune.config.execution import execute

        return execute(path, where, merge_bases)
    read = _yaml if path.suffix in (".yaml", ".yml") else _json
    values = read(text, where)
    if BASE in values:
        merge_bases(values.pop(BASE))
    return values


def _json(text: str, where: str) -> dict[str, Any]:
    values: dict[str, Any] = parse_json(text, where=f"config {where}", error=ConfigError, hint=COMPARE)
    return values


def _yaml(text: str, where: str) -> dict[str, Any]:
    import yaml

    with foreign(f"config {where} cannot be read", ConfigError, COMPARE):
        values = yaml.load(text, yaml.SafeLoader)
        if not isinstance(values, dict):
            raise ValueError(f"it should have keys and values, but it is of type {type(values).__name__}")
        return values


def _missing(text: str) -> str:
    """The keys that a file of code lacks too: it may be a config of another program."""
    from xtune.config.schema import Config

    nodes = list(ast.walk(ast.parse(text)))
    there = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    there |= {node.name for node in nodes if isinstance(node, ast.alias)}
    wanted = [name for name, field in Config.model_fields.items() if field.is_required() and name not in there]
    return "" if {BASE, "read_base"} & there or not wanted else f", and keys are missing: {', '.join(wanted)}"
