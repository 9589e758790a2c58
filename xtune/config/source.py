"""A config's name or path -> its values -> the typed Config."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtune.config.files import SUFFIXES, Reader
from xtune.config.override import apply_overrides, parse_overrides
from xtune.config.plain import plain
from xtune.errors import ConfigError
from xtune.foreign import foreign, wanted
from xtune.registries import components
from xtune.text import one_line, shown

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    from xtune.config.schema import Config
    from xtune.registry import ConfigRegistry


def list_configs() -> list[str]:
    """Names of all training configs, those of plugins included, sorted; any other MODEL_TUNING_DATASET_eN loads too."""
    configs = components().configs
    return sorted(name for name in configs if configs.files.get(name, Path()).suffix != ".json")


def load_config(
    name_or_path: str | Path, overrides: Mapping[str, Any] | Sequence[str] = (), *, trust_config: bool = False
) -> Config:
    """The validated Config of a registered name or of a .py, .yaml or .json file, with overrides applied.

    `overrides` maps dotted keys to values, or lists KEY=VALUE strings as on the command line. A Python file is read as
    data, and refused where it has code; with `trust_config` it is then run, in a process of its own.
    Raises ConfigError (unknown keys name the nearest one, and the file) and UnknownName.
    """
    values, where = read_config(str(name_or_path), trust_config=trust_config)
    if not isinstance(overrides, Mapping):
        overrides = parse_overrides(overrides)
    with foreign("--cfg-options", ConfigError, "give another value"):
        values = plain(apply_overrides(values, dict(overrides)))
    return validate(values, where, overrides)


def read_config(name_or_path: str, *, trust_config: bool = False) -> tuple[dict[str, Any], str]:
    """The plain values of a registered name or of a file, and where they are from, for messages."""
    configs = components().configs
    path = find_config(name_or_path, configs)
    if isinstance(path, dict):
        return path, name_or_path
    owner = configs.owner(name_or_path) if name_or_path in configs else "xtune"
    where = str(path) if owner == "xtune" else f"{path} of plugin {owner}"
    return Reader(configs, trusted=trust_config).read(path, where), where


def find_config(name_or_path: str, configs: ConfigRegistry) -> Path | dict[str, Any]:
    """The file behind a name or path, or the values that a name composes.

    A name wins over a file of that name in the working directory.
    """
    if name_or_path in configs:
        path = configs[name_or_path]
        if isinstance(path, Path) and path.suffix != ".py":
            raise ConfigError(
                f"{name_or_path} is a DeepSpeed file, not a training config; pass it with --deepspeed {name_or_path}"
            )
        return path
    path = Path(name_or_path)
    if path.suffix not in SUFFIXES and path.parent == Path("."):
        return configs[name_or_path]
    if not os.path.lexists(path):
        raise ConfigError(f"config file does not exist: got {name_or_path}; give a file, or a name from xtune list-cfg")
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"a config file ends in {', '.join(SUFFIXES)}: got {name_or_path}; rename it")
    return path


def validate(values: Mapping[str, Any], where: str, overridden: Iterable[str] = ()) -> Config:
    """The Config of plain `values`. Errors name `where` they are from, but for keys that were `overridden`."""
    from pydantic import ValidationError

    from xtune.config.schema import Config

    try:
        return Config.model_validate(values)
    except ValidationError as error:
        key = dotted(error)
        changed = any(f"{key}.".startswith(f"{name}.") or name.startswith(f"{key}.") for name in overridden)
        raise ConfigError(explain(error, Config, "" if changed else where)) from error


def dotted(error: ValidationError) -> str:
    """The key of the first thing that pydantic found wrong."""
    return ".".join(str(part) for part in error.errors()[0]["loc"])


def explain(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """One line for the first thing that pydantic found wrong, with the nearest key for an unknown one."""
    first, key = error.errors()[0], dotted(error)
    begin, named = f"{where}: " if where else "", one_line(key)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"{begin}unknown key: got {named}; {_nearest(key, model)}{more}"
    if first["type"] == "missing":
        return f"{begin}key {named} is missing; add it{more}"
    return f"{begin}{named} should {wanted(first)}: got {shown(first['input'])}; change it{more}"


def _nearest(key: str, model: type[BaseModel]) -> str:
    """The hint for an unknown key: a like name in its section, that name in another one, or what the section has."""
    prefix, dot, name = key.rpartition(".")
    here = _fields_at(model, prefix + dot)
    near = [prefix + dot + found for found in get_close_matches(name, here, n=1, cutoff=0.6)]
    near = [known for known in known_keys(model) if known.rpartition(".")[2] == name] or near
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"known here: {', '.join(here)}" if here else "there are none here"


def known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every dotted key of a settings class; keys of lists carry the index 0."""
    from pydantic import BaseModel

    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        for part, index in _nested(field.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                keys += known_keys(part, f"{prefix}{name}.{index}")
    return keys


def _nested(annotation: Any) -> list[tuple[Any, str]]:
    """The classes inside an annotation, each with the index part that a list puts in the key."""
    from typing import get_args, get_origin

    inner = [(part, "0." if get_origin(annotation) is list else "") for part in get_args(annotation)]
    return [(annotation, ""), *inner, *[found for part, _ in inner for found in _nested(part) if get_args(part)]]


def _fields_at(model: type[BaseModel], prefix: str) -> list[str]:
    """Names of the keys directly below a dotted prefix such as `optimizer.` or `data.1.`."""
    stem = re.sub(r"\b\d+\.", "0.", prefix)
    keys = [key[len(stem) :] for key in known_keys(model) if key.startswith(stem)]
    return [key for key in keys if "." not in key]
