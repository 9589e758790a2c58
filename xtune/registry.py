"""Names to components. A registry is a strict mapping that knows who added what."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from xtune.errors import DuplicateName, PluginError, UnknownName, nearest

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
        return self._owners.get(name, "xtune")

    def added_by(self, owner: str) -> dict[str, T]:
        """The entries that the distribution `owner` added."""
        return {name: self._values[name] for name, found in self._owners.items() if found == owner}

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __getitem__(self, name: str) -> T:
        try:
            return self._values[name]
        except KeyError:
            raise UnknownName(self.kind, name, self._values) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class SuffixRegistry(Registry[T]):
    """Suffixes of files to what reads them."""

    def add(self, name: str, value: T) -> None:
        if not re.fullmatch(r"\.[a-z0-9_-]+", name) or name == ".gz":
            raise PluginError(
                f"{self.kind} `{name}` of {self.adding} is no suffix of a file",
                "write one like .sqlite, small and without .gz, which may follow any",
            )
        super().add(name, value)


class ConfigRegistry(Registry[Any]):
    """Config names to their files, and names that have none to the values that `grammar` composes.

    Nothing is read or composed before it is looked up, so listing thousands of names takes milliseconds. `models` gives
    the registry of models, in which the grammar finds the first part of a name.
    """

    def __init__(self, models: Callable[[], Registry[Any]] | None = None) -> None:
        super().__init__("config")
        self.models = models or (lambda: Registry("model"))
        self.grammar: Registry[Any] = Registry("config")

    @property
    def files(self) -> Mapping[str, Path]:
        return self._values

    def add(self, name: str, value: Path) -> None:
        """Adds a file. Where its name begins with a model of the same plugin, it wins over what would be composed."""
        if name in self.grammar and self.grammar.owner(name) != self.adding:
            raise DuplicateName(self.kind, name, self.adding, self.grammar.owner(name))
        super().add(name, value)

    def __contains__(self, name: object) -> bool:
        return name in self._values or name in self.grammar

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._values, *self.grammar]))

    def __getitem__(self, name: str) -> Any:
        if name in self._values or (name not in self.grammar and nearest(name, self._values, cutoff=0.9)):
            return super().__getitem__(name)
        return self.grammar[name]

    def add_package(self, package: str) -> None:
        """Adds every `*.py` config and DeepSpeed `*.json` file below an importable package, by file name.

        Files whose names begin with an underscore are parts to inherit from, not configs. The package itself is
        found, never executed.
        """
        from importlib.util import find_spec

        try:
            spec = find_spec(package)
        except ImportError as error:
            raise PluginError(
                f"config package `{package}` of {self.adding} cannot be imported: {error}",
                "import it in Python to see why",
            ) from error
        if spec is None or not spec.submodule_search_locations:
            raise PluginError(
                f"config package `{package}` of {self.adding} does not exist",
                "list it among the packages of the distribution",
            )
        for root in spec.submodule_search_locations:
            for folder, _, files in os.walk(root):
                base = Path(folder)
                for file in sorted(files):
                    stem, suffix = os.path.splitext(file)
                    if suffix in (".py", ".json") and not stem.startswith("_"):
                        self.add(stem, base / file)
