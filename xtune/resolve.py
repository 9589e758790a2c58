"""Names -> objects. The only place where a config's names are looked up: above it functions take what they use, below
it nobody looks anything up again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from xtune.config.schema import ComponentSettings, Config
from xtune.config.source import explain, load_config
from xtune.data.prepare import Prepared
from xtune.distributed.parallel import Distributed
from xtune.errors import ConfigError
from xtune.mappers.bind import bind_mapper
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
    return run.prepare_data(run.load_tokenizer(), feeds)


def resolve(config: Config, registries: Components | None = None) -> Run:
    """Looks up every name of `config`.

    Raises UnknownName, and ConfigError for options that a component lacks and for settings that contradict each other.
    """
    found = registries or components()
    tuning = make(config.tuning, "tuning", found.strategies)
    if not isinstance(tuning, Tuning):
        raise ConfigError(f"tuning.name should be a tuning strategy: got {config.tuning.name}, a distributed one")
    distributed = config.distributed
    if isinstance(distributed, str):
        distributed = ComponentSettings(name=distributed)
    run_on = make(distributed, "distributed", found.strategies)
    if not isinstance(run_on, Distributed):
        raise ConfigError(f"distributed should be a distributed strategy: got {distributed.name}, one of tuning")
    for entry in (*config.data, *config.evaluation.choices):
        if not entry.path:
            raise ConfigError(
                f"the config's data has no path: got only mapper `{entry.mapper}`; pass --data FILE [--mapper NAME]"
            )
        if entry.mapper != "auto":
            bind_mapper(entry.mapper, entry.options, found.mappers)
    run = Run(
        config=config,
        model=found.models[config.model.name],
        template=find_template(config.template, found.templates),
        objective=make(config.objective, "objective", found.objectives),
        tuning=tuning,
        distributed=run_on,
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
            f"{registry.kind}'s; take them out, or start from a config of {settings.name} (xtune list-cfg)"
        )
    try:
        return kind(**settings.options)
    except ValidationError as error:
        raise ConfigError(explain(error, kind, f"{section} {settings.name}")) from error
