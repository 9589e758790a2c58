"""config.json of a model that leaves: the base's own, key by key, with what was changed since."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xtune.errors import ModelError
from xtune.export.spelling import both_spellings, is_config
from xtune.foreign import read_json
from xtune.models.config_file import read_config
from xtune.models.legacy.config import VendorConfig

CONFIG = "config.json"
NOT_CHANGED = {"architectures", "auto_map", "dtype", "torch_dtype", "transformers_version", "_name_or_path"}
"""What transformers rewrites whenever it reads a config; `save_config` is given the dtype."""


def raw_config(folder: Path) -> dict[str, Any]:
    """The values of config.json in a folder, as they stand there."""
    values: dict[str, Any] = read_json(folder / CONFIG, what="model config", error=ModelError, lenient=True)
    return values


def save_config(config: Any, source: Path, folder: Path, dtype: str | None) -> None:
    """Writes `config`, which was read from `source`, to `folder`; `dtype` None keeps the one that it names."""
    values = spelled_as_in(source, config)
    write_config(folder, values if dtype is None else with_dtype(values, dtype))


def spelled_as_in(source: Path, config: Any) -> dict[str, Any]:
    """The values of `config` by the keys of config.json in `source`, without any that were not there or changed.

    It may be that of the text model alone, of a multimodal one.
    """
    if isinstance(config, VendorConfig):
        return plain(config.to_diff_dict())
    raw, read = raw_config(source), read_config(source)[0]
    if type(read) is type(config):
        return with_changes(raw, plain(read.to_dict()), plain(config.to_dict()))
    text = with_changes(raw["text_config"], plain(read.get_text_config().to_dict()), plain(config.to_dict()))
    return raw | {"text_config": text}


def with_changes(raw: dict[str, Any], read: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """`raw` with what `now` has otherwise than `read`, which transformers made of `raw`."""
    changed = {key: value for key, value in now.items() if key not in NOT_CHANGED and read.get(key) != value}
    gone = (read.keys() & raw.keys()) - now.keys()
    return {key: value for key, value in raw.items() if key not in gone} | changed


def with_dtype(values: dict[str, Any], dtype: str) -> dict[str, Any]:
    """The values with another dtype, wherever they name one."""
    parts = {key: with_dtype(value, dtype) if is_config(value) else value for key, value in values.items()}
    return parts | dict.fromkeys([key for key in ("dtype", "torch_dtype") if key in values] or ["dtype"], dtype)


def write_config(folder: Path, values: dict[str, Any]) -> None:
    """Writes config.json for readers with transformers 4 and 5; one that is there and says the same stays as it is."""
    values, file = both_spellings(values), folder / CONFIG
    if not file.is_file() or raw_config(folder) != values:
        file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Values as they come back from JSON."""
    found: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return found
