"""Plain values -> the typed Config, and one line for the first thing that is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from xtune.errors import ConfigError
from xtune.foreign import wanted
from xtune.text import one_line, shown

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    from xtune.config.schema import Config


def validate(values: Mapping[str, Any], where: str, overridden: Iterable[str] = ()) -> Config:
    """The Config of plain `values`. Errors name `where` they are from, but for keys that were `overridden`."""
    from pydantic import ValidationError

    from xtune.config.schema import Config

    try:
        return Config.model_validate(values)
    except ValidationError as error:
        key = dotted(error)
        changed = any(f"{key}.".startswith(f"{name}.") or name.startswith(f"{key}.") for name in overridden)
        raise ConfigError(*explain(error, Config, "" if changed else where)) from error


def dotted(error: ValidationError) -> str:
    """The key of the first thing that pydantic found wrong."""
    return ".".join(str(part) for part in error.errors()[0]["loc"])


def explain(error: ValidationError, model: type[BaseModel], where: str) -> tuple[str, str]:
    """Fact and hint of the first thing that pydantic found wrong, with the nearest key for an unknown one."""
    first, key = error.errors()[0], dotted(error)
    begin, named = f"{where}: " if where else "", one_line(key)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"{begin}unknown key: got `{named}`{more}", _nearest(key, model)
    if first["type"] == "missing":
        return f"{begin}key `{named}` is missing{more}", f"write {named}="
    return f"{begin}{named} should {wanted(first)}: got `{shown(first['input'])}`{more}", _example(key, model)


def _example(key: str, model: type[BaseModel]) -> str:
    """The hint for a wrong value: the key with its default, which is one that it takes."""
    usual = _defaults(model).get(re.sub(r"\b\d+\b", "0", key))
    if isinstance(usual, (bool, int, float)) or (usual and isinstance(usual, str)):
        return f"write for instance {one_line(key)}={usual}"
    return "see `xtune show-cfg NAME` for what it holds elsewhere"


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
    return list(_defaults(model, prefix))


def _defaults(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Every dotted key of a settings class, and its default."""
    from pydantic import BaseModel

    keys: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        keys[prefix + name] = field.default
        for part, index in _nested(field.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                keys |= _defaults(part, f"{prefix}{name}.{index}")
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
