"""Public functions that take names: of configs, and of chat templates."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtune.config.files import SUFFIXES, Reader
from xtune.config.override import apply_overrides, parse_overrides
from xtune.config.plain import plain
from xtune.errors import ConfigError
from xtune.foreign import foreign
from xtune.registries import components

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xtune.config.schema import Config
    from xtune.conversation import Conversation, Sample, Span
    from xtune.encoding.encoder import TooLong
    from xtune.registry import ConfigRegistry
    from xtune.templates.render import Learn
    from xtune.templates.template import ChatTemplate


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
    if not isinstance(overrides, Mapping):
        overrides = parse_overrides(overrides)
    return overridden(*read_config(str(name_or_path), trust_config=trust_config), overrides)


def overridden(values: Mapping[str, Any], where: str, overrides: Mapping[str, Any]) -> Config:
    """The validated Config of what read_config gives, with dotted keys set. Raises ConfigError."""
    from xtune.config.validate import validate

    with foreign("--cfg-options", ConfigError, "give another value"):
        values = plain(apply_overrides(dict(values), dict(overrides)))
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
                f"{name_or_path} is a DeepSpeed file, not a training config", f"pass it with --deepspeed {name_or_path}"
            )
        return path
    path = Path(name_or_path)
    if path.suffix not in SUFFIXES and path.parent == Path("."):
        return configs[name_or_path]
    if not os.path.lexists(path):
        raise ConfigError(
            f"config file does not exist: got `{name_or_path}`", "give a file, or a name from xtune list-cfg"
        )
    if path.suffix not in SUFFIXES:
        raise ConfigError(
            f"a config file ends in {', '.join(SUFFIXES)}: got `{name_or_path}`", f"name it {path.stem}.py"
        )
    return path


def render(
    conversation: Conversation,
    template: ChatTemplate | str,
    *,
    learn: Learn = "assistant",
    generation_prompt: bool = False,
) -> list[Span]:
    """The spans of a conversation; their texts joined are what the model reads, control tokens by name.

    `template` may be a registry name. `learn` "assistant" learns every answer and its end token, "last" only the last
    one's, "all" every token; a turn's own `learn` overrides it. Where a template writes reasoning, answers that lie
    before the last question stand there without, not as the model wrote them when they were the last (with an empty one
    at least): they are trained on only where their turn or "all" asks for it.
    With `generation_prompt` the text ends where the assistant starts to answer.
    Raises DataError for a role that the template has no place for.
    """
    from xtune.conversation import Span
    from xtune.templates.render import form_of, pieces

    form = form_of(template_named(template))
    return [Span(*piece) for piece in pieces(conversation, form, learn, generation_prompt)]


def encode(
    conversation: Conversation,
    template: ChatTemplate | str,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None = None,
    generation_prompt: bool = False,
    *,
    learn: Learn = "assistant",
    too_long: TooLong = "drop_turns",
) -> Sample:
    """Ids and labels of one conversation; see Encoder. With `generation_prompt`, the ids that a chat continues from.

    A conversation that is too long and cannot be made to fit gives an empty Sample; plain text, its first piece.
    """
    from xtune.conversation import Sample
    from xtune.encoding.encoder import Encoder
    from xtune.templates.render import pieces

    encoder = Encoder(template_named(template), tokenizer, max_length=max_length, learn=learn, too_long=too_long)
    tokens = encoder.encode_whole([pieces(conversation, encoder.form, learn, generation_prompt)])[0].tokens
    if max_length is not None and len(tokens.ids) > max_length and not generation_prompt:
        examples = encoder.encode_batch([conversation])[0].examples
        if not examples:
            return Sample()
        tokens = examples[0].sequences[0]
    return Sample(tokens.ids.tolist(), tokens.labels.tolist())


def template_named(template: ChatTemplate | str) -> ChatTemplate:
    """The template itself, or the one that the registry has by this name. Raises UnknownName."""
    from xtune.templates import builtin

    if not isinstance(template, str):
        return template
    if template in builtin():  # no plugin can take the name, so none needs to be looked for
        return builtin()[template]
    found: ChatTemplate = components().templates[template]
    return found
