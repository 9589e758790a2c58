"""Any name of known parts -> the values of its config: what the registry of configs asks where there is no file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from xtune.catalogue.compose import compose
from xtune.catalogue.datasets import DATASETS
from xtune.catalogue.names import Name, readings
from xtune.catalogue.points import every
from xtune.catalogue.tunings import TUNINGS
from xtune.errors import UnknownName, UnknownPart
from xtune.models.spec import ModelSpec
from xtune.registry import Registry


class Catalogue(Registry[dict[str, Any]]):
    """The grammar of the built-in configs, over the built-in models and those of plugins. It knows more than it lists.

    A name that does not compose raises UnknownName, of the part that is not known where the others are.
    """

    def __init__(self, models: Callable[[], Registry[ModelSpec]]) -> None:
        super().__init__("config")
        self._models = models

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and self._meant(text) is not None

    def __iter__(self) -> Iterator[str]:
        return every(self._models())

    def __getitem__(self, text: str) -> dict[str, Any]:
        name = self._meant(text)
        if name is None:
            raise unknown(text, self._models())
        return compose(name, self._models()[name.model])

    def owner(self, text: str) -> str:
        """The distribution of the model that a name begins with."""
        name = self._meant(text)
        return self._models().owner(name.model) if name else "xtune"

    def _meant(self, text: str) -> Name | None:
        """The reading of known parts, of a plugin's that have several the one with the longest model."""
        models = self._models()
        found = [name for name in readings(text) if name.model in models and name.dataset in DATASETS]
        written = [name for name in found if name.epochs or DATASETS[name.dataset].example]
        return written[-1] if written else None


def unknown(text: str, models: Iterable[str]) -> UnknownName:
    """What is wrong with a name that does not compose: a part of it, where the others are known."""
    models, found = list(models), list(readings(text))
    for name in found:
        if name.model in models:
            dataset = re.sub(r"_e\d+\w*$", "", name.dataset)
            if dataset not in DATASETS:
                return UnknownPart("data set", dataset, DATASETS)
            wanted = replace(name, dataset=dataset, epochs=DATASETS[dataset].epochs)
            return UnknownName("config", text, [wanted.text])
    if found:
        best = max(found, key=lambda name: name.dataset in DATASETS)
        return UnknownPart("model", best.model, models)
    parts = re.fullmatch(rf"({_any(models)})_(\w+?)_({_any(DATASETS)})(_e\d+\w*)?", text)
    return UnknownPart("tuning", parts[2], TUNINGS) if parts else UnknownName("config", text, every(models))


def _any(names: Iterable[str]) -> str:
    """A pattern of any of the names, the longest first."""
    return "|".join(sorted(map(re.escape, names), key=len, reverse=True))
