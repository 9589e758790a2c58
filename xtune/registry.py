"""Names to components. A registry is a strict mapping that knows who added what."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from xtune.errors import DuplicateName, PluginError, UnknownName

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A mapping of names to components of one kind.

    `registry[name]` raises UnknownName, which lists the nearest names; `add` raises DuplicateName for a taken one.
    `adding` is the distribution whose entries are being added; the plugin loader sets it.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.adding = "xtune"
        self._values: dict[str, T] = {}
        self._owners: dict[str, str] = {}

    def add(self, name: str, value: T) -> None:
        if name in self._values:
            raise DuplicateName(self.kind, name, self.adding, self._owners[name])
        self._values[name] = value
        self._owners[name] = self.adding

    def owner(self, name: str) -> str:
        """The distribution that added `name`."""
        self[name]
        return self._owners[name]

    def __getitem__(self, name: str) -> T:
        try:
            return self._values[name]
        except KeyError:
            raise UnknownName(self.kind, name, self._values) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class ConfigRegistry(Registry[Path]):
    """Config names to their files. Only file names are read, so listing hundreds of them takes milliseconds."""

    def __init__(self) -> None:
        super().__init__("config")

    def add_package(self, package: str) -> None:
        """Adds every `*.py` config and DeepSpeed `*.json` file below an importable package, by file name.

        Files whose names begin with an underscore are parts to inherit from, not configs. The package itself is
        found, never executed.
        """
        from importlib.util import find_spec

        try:
            spec = find_spec(package)
        except ImportError as error:
            raise PluginError(f"config package {package!r} of {self.adding} cannot be imported: {error}") from error
        if spec is None or not spec.submodule_search_locations:
            raise PluginError(f"config package {package!r} of {self.adding} does not exist; is it in the distribution?")
        for root in spec.submodule_search_locations:
            for folder, _, files in os.walk(root):
                base = Path(folder)
                for file in sorted(files):
                    stem, suffix = os.path.splitext(file)
                    if suffix in (".py", ".json") and not stem.startswith("_"):
                        self.add(stem, base / file)
