"""Names -> objects. The only place where a config's names are looked up: above it functions take what they use, below
it nobody looks anything up again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from xtune.callbacks.callback import Callback
from xtune.callbacks.visualizers import Visualizer
from xtune.config.schema import ComponentSettings, Config
from xtune.config.validate import explain
from xtune.data.prepare import Prepared
from xtune.distributed.deepspeed import DeepSpeed
from xtune.distributed.parallel import Distributed
from xtune.errors import ConfigError
from xtune.mappers.bind import bind_mapper
from xtune.names import load_config
from xtune.quantization.quantization import FromTuning, Quantization
from xtune.registries import Components, components
from xtune.registry import Registry
from xtune.rules import refuse_contradictions
from xtune.run import Run
from xtune.templates.store import find_template
from xtune.tuning.tuning import Tuning


def prepare_data(config: Config | str | Path) -> Prepared:
    """The data of a config (a Config, a name or a file) as a run would train on it: (dataset, report).

    `report` counts rows read, trained, held out and dropped by reason, and tokens. Raises XtuneError.
    """
    run = resolve(config if isinstance(config, Config) else load_config(config))
    feeds = run.open_data()
    return run.prepare_data(feeds)


def resolve(config: Config, registries: Components | None = None) -> Run:
    """Looks up every name of `config`.

    Raises UnknownName, and ConfigError for options that a component lacks and for settings that contradict each other.
    """
    found = registries or components()
    tuning = make(config.tuning, "tuning", found.strategies)
    if not isinstance(tuning, Tuning):
        raise ConfigError(
            f"tuning.name should be a tuning strategy: got `{config.tuning.name}`, a distributed one",
            f"set distributed={config.tuning.name}",
        )
    distributed = _distributed(config.distributed, found)
    for entry in (*config.data, *config.evaluation.choices):
        if not entry.path:
            raise ConfigError(
                f"the config's data has no path: got only mapper `{entry.mapper}`", "pass --data FILE [--mapper NAME]"
            )
        if entry.mapper != "auto":
            bind_mapper(entry.mapper, entry.options, found.mappers)
    run = Run(
        config=config,
        model=found.models[config.model.name],
        template=find_template(config.template, found.templates),
        objective=make(config.objective, "objective", found.objectives),
        tuning=tuning,
        quantization=_quantization(config.quantization, tuning, config.tuning.name, found),
        optimizer=make(_settings(config.optimizer.name, config.optimizer.options), "optimizer", found.optimizers),
        schedule=found.schedules[config.schedule.name],
        distributed=distributed,
        callbacks=tuple(find_callbacks(config, found.callbacks)),
        components=found,
    )
    refuse_contradictions(run)
    return run


def make(settings: ComponentSettings, section: str, registry: Registry[Any]) -> Any:
    """The component that a section names, made with the section's options."""
    kind = registry[settings.name]
    strangers = [option for option in settings.options if option not in kind.model_fields]
    if len(strangers) > 1:
        raise ConfigError(
            f"{section}.name={settings.name} has no such options: got {', '.join(strangers)}, which are another "
            f"{registry.kind}'s",
            f"take them out, or start from a config of {settings.name} (xtune list-cfg)",
        )
    try:
        return kind(**settings.options)
    except ValidationError as error:
        raise ConfigError(*explain(error, kind, f"{section} {settings.name}")) from error


def _distributed(named: str | ComponentSettings, found: Components) -> Distributed:
    """A distributed strategy by name, or that of a DeepSpeed file which is registered by this name."""
    settings = _settings(named) if isinstance(named, str) else named
    if settings.name not in found.strategies and settings.name in found.configs:
        file = found.configs[settings.name]
        if file.suffix == ".json":
            return DeepSpeed(file=str(file))
    strategy = make(settings, "distributed", found.strategies)
    if not isinstance(strategy, Distributed):
        raise ConfigError(
            f"distributed should be a distributed strategy: got `{settings.name}`, one of tuning",
            f"set tuning.name={settings.name}",
        )
    return strategy


def _quantization(
    named: str | ComponentSettings | None, tuning: Tuning, tuning_name: str, found: Components
) -> Quantization:
    """How the base is quantized: as the config says, else as its tuning asks."""
    asked = tuning.base_quantization()
    if type(tuning).quantization is not Tuning.quantization:
        asked = FromTuning(make=tuning.quantization)
    if named is None:
        return asked
    settings = _settings(named) if isinstance(named, str) else named
    chosen: Quantization = make(settings, "quantization", found.quantizations)
    if type(asked) not in (Quantization, type(chosen)):
        raise ConfigError(
            f"quantization={settings.name} and tuning.name={tuning_name} ask for different weights of the base",
            "set tuning.name=lora",
        )
    return chosen


def find_callbacks(config: Config, known: Registry[Any]) -> Iterator[Callback]:
    """Those that every run has, those that the config names, and one for each of mmengine's backends that it names."""
    named = {settings.name for settings in config.callbacks}
    yield from (kind() for name, kind in known.items() if kind.always and name not in named)
    yield from (make(settings, "callbacks", known) for settings in config.callbacks)
    yield from (Visualizer(backend=name) for name in config.visualizers)


def _settings(name: str, options: Mapping[str, Any] | None = None) -> ComponentSettings:
    return ComponentSettings.model_validate({"name": name, **(options or {})})
