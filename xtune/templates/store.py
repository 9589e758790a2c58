"""Chat templates as files: beside adapters and merged models, and as a user's own FILE.json."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, get_origin, get_type_hints

from xtune.errors import ConfigError, suggestion
from xtune.foreign import read_json
from xtune.templates.template import ChatTemplate
from xtune.text import shown

if TYPE_CHECKING:
    from xtune.registry import Registry

TEMPLATE_FILE = "xtune_template.json"


def save_template(template: ChatTemplate, folder: str | Path) -> Path:
    """Writes `folder`/xtune_template.json and returns its path. Fields that have their default value are left out."""
    path = Path(folder, TEMPLATE_FILE)
    path.write_text(json.dumps(template_values(template), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return path


def load_template(place: str | Path) -> ChatTemplate | None:
    """The template stored in a folder, None where it has none; or the one in a JSON file.

    Raises ConfigError for a file that does not exist, is no JSON object, or has an unknown or wrong field.
    """
    path = Path(place)
    if path.is_dir():
        path = path / TEMPLATE_FILE
        if not path.is_file():
            return None
    return template_from(read_json(path, what="chat template", error=ConfigError, shape=Any), str(path))


def template_values(template: ChatTemplate) -> dict[str, Any]:
    """A template as JSON values, without the fields that have their default."""
    defaults = {field.name: field.default for field in fields(ChatTemplate)}
    values = {name: value for name, value in asdict(template).items() if value != defaults[name]}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def template_from(values: Any, where: str) -> ChatTemplate:
    """The template of JSON values; `where` is named in errors."""
    if not isinstance(values, dict):
        raise ConfigError(
            f"{where}: a chat template is an object of fields: got `{shown(values)}`", "write one with user"
        )
    kinds = get_type_hints(ChatTemplate)
    for name, value in values.items():
        if name not in kinds:
            raise ConfigError(
                f"{where}: unknown field of a chat template: got `{shown(name)}`", suggestion(name, kinds)
            )
        if not _fits(value, kinds[name]):
            raise ConfigError(
                f"{where}: {name} should be {_described(kinds[name])}: got `{shown(value)}`",
                f"write {_described(kinds[name])} there",
            )
    if "user" not in values:
        raise ConfigError(f"{where}: a chat template needs the field user", "add it, with {text} where the text goes")
    fitting: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return ChatTemplate(**fitting)


def _fits(value: Any, kind: Any) -> bool:
    """Whether a JSON value is of a field's type."""
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is tuple:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, kind)


def _described(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    if get_origin(kind) is tuple:
        return "a list of strings"
    return {str: "a string", bool: "true or false"}.get(kind, "a string or null")


def find_template(name: str, templates: Registry[ChatTemplate]) -> ChatTemplate:
    """A registered template, or that of a file, which ends in .json. Raises UnknownName or ConfigError."""
    if name.endswith((".jinja", ".jinja2", ".j2")):
        raise ConfigError(
            f"a chat template cannot be a Jinja file, which does not say what is trained on: got `{name}`",
            "write the fields of xtune.ChatTemplate to a .json file",
        )
    if not name.endswith(".json"):
        return templates[name]
    if not Path(name).is_file():
        raise ConfigError(f"chat template file does not exist: got `{name}`", "give a .json file, or a registered name")
    return cast(ChatTemplate, load_template(name))
