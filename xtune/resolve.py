"""Names -> objects. The only place where a config's names are looked up: below it functions take what they use,
above it nobody looks anything up again.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from xtune.config.schema import ComponentSettings, Config, DataSettings
from xtune.config.source import explain
from xtune.errors import ConfigError, suggestion
from xtune.models.load import load_model, load_tokenizer
from xtune.models.spec import ModelSpec
from xtune.plugins import Components, components
from xtune.strategies.strategy import Strategy, Tuning
from xtune.templates.template import ChatTemplate

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Run:
    """The objects that a run needs. `mappers` stand in the order of `config.data`; None recognises the format."""

    config: Config
    model: ModelSpec
    template: ChatTemplate
    tuning: Tuning
    distributed: Strategy
    mappers: list[Callable[[Mapping[str, Any]], Any] | None]
    components: Components

    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        return load_tokenizer(self.config.model.tokenizer or self.config.model.path)

    def load_model(self, device: str | torch.device | None = None) -> PreTrainedModel:
        """The base model as the tuning strategy wants it loaded (quantized or not), not yet prepared for tuning."""
        import torch

        from xtune.models.load import pick_dtype

        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        dtype = pick_dtype(self.config.model.dtype, place)
        return load_model(
            self.config.model.path,
            dtype=dtype,
            attention=self.config.model.attention,
            quantization=self.tuning.quantization(dtype),
            device=place,
        )


def resolve(config: Config, registries: Components | None = None) -> Run:
    """Looks up every name of `config`. Raises UnknownName, or ConfigError for options that a component does not take."""
    found = registries or components()
    tuning = _strategy(config.tuning, "tuning", found)
    if not isinstance(tuning, Tuning):
        raise ConfigError(f"tuning.name should be a tuning strategy: got {config.tuning.name}, a distributed one")
    distributed = config.distributed
    if isinstance(distributed, str):
        distributed = ComponentSettings(name=distributed)
    return Run(
        config=config,
        model=found.models[config.model.name],
        template=found.templates[config.template],
        tuning=tuning,
        distributed=_strategy(distributed, "distributed", found),
        mappers=[_mapper(entry, found) for entry in config.data],
        components=found,
    )


def _strategy(settings: ComponentSettings, section: str, found: Components) -> Strategy:
    """The strategy that a section names, made with the section's options."""
    kind = found.strategies[settings.name]
    try:
        return kind(**settings.options)
    except ValidationError as error:
        raise ConfigError(explain(error, kind, f"{section} {settings.name}")) from error


def _mapper(entry: DataSettings, found: Components) -> Callable[[Mapping[str, Any]], Any] | None:
    """The mapper that a data entry names, its options bound; None for "auto", which looks at the rows."""
    if entry.mapper == "auto":
        return None
    mapper = found.mappers[entry.mapper]
    known = [name for name, p in inspect.signature(mapper).parameters.items() if p.kind is p.KEYWORD_ONLY]
    for name in entry.options:
        if name not in known:
            raise ConfigError(f"mapper {entry.mapper} has no option {name!r}; {suggestion(name, known)}")
    return partial(mapper, **entry.options) if entry.options else mapper
