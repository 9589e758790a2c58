"""Which configs to rehearse: those that differ in small, or a few that between them have every component."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Set
from typing import TYPE_CHECKING, TypeVar

from xtune.rehearse.small_model import small_sizes

if TYPE_CHECKING:
    from xtune.config.schema import Config
    from xtune.models.spec import ModelSpec

Name = TypeVar("Name", bound=Hashable)


def traits(config: Config, spec: ModelSpec) -> frozenset[tuple[str, str]]:
    """What a config exercises: its family, architecture, template, tuning and mappers, as (axis, name)."""
    return frozenset(
        {
            ("family", spec.family),
            ("architecture", str(spec.config.get("model_type"))),
            ("template", config.template),
            ("tuning", config.tuning.name),
            *(("mapper", entry.mapper) for entry in config.data),
        }
    )


def identity(config: Config, spec: ModelSpec) -> str:
    """A text that two configs share where a rehearsal would run the same on both: the model's name, path and size are
    not in it, for it is made small."""
    values = config.model_dump(mode="json", exclude={"model": {"name", "path"}})
    sizes = {name: value for name, value in small_sizes(spec.config).items() if name != "vocab_size"}
    return json.dumps([values, sizes], sort_keys=True)


def cover(sets: Mapping[Name, Set[Hashable]]) -> list[Name]:
    """Names whose sets have every member between them: each time the one with the most that is new, the first of such.

    At most a factor of ln(members) more than needed: V. Chvatal, A Greedy Heuristic for the Set-Covering Problem, 1979.
    """
    missing = set().union(*sets.values())
    chosen = []
    while missing:
        name = max(sets, key=lambda name: len(sets[name] & missing))
        chosen.append(name)
        missing -= sets[name]
    return chosen
