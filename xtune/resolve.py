"""Names -> objects. The only place where a config's names are looked up: below it functions take what they use,
above it nobody looks anything up again.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from xtune.config.schema import ComponentSettings, Config, DataSettings
from xtune.config.source import explain, load_config
from xtune.data.feed import Feed
from xtune.data.prepare import Prepared, prepare
from xtune.distributed.parallel import Distributed
from xtune.encoding.encoder import Encoder
from xtune.errors import ConfigError, DataError, suggestion
from xtune.mappers.auto import choose
from xtune.models.load import load_model, load_tokenizer, load_unplaced, pick_dtype
from xtune.models.spec import ModelSpec
from xtune.registries import Components, components
from xtune.rules import refuse_contradictions
from xtune.sources.source import Source, open_source
from xtune.templates.store import load_template
from xtune.templates.template import ChatTemplate
from xtune.tuning.tuning import Strategy, Tuning

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

PROBED = 5  # rows whose columns tell the format: one may be broken, or lack what is optional

Mapper = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True)
class Run:
    """The objects that a run needs, and how it makes the large ones: tokenizer, model and data."""

    config: Config
    model: ModelSpec
    template: ChatTemplate
    tuning: Tuning
    distributed: Distributed
    components: Components

    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        return load_tokenizer(self.config.model.tokenizer or self.config.model.path)

    def load_model(self, device: str | torch.device | None = None, *, on_cpu: bool = False) -> PreTrainedModel:
        """The base model as the tuning strategy wants it loaded (quantized or not), not yet prepared for tuning.

        With `on_cpu` it is loaded for `device` but stays on the CPU, unless it is quantized.
        """
        import torch

        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        dtype = pick_dtype(self.config.model.dtype, place)
        return (load_unplaced if on_cpu else load_model)(
            self.config.model.path,
            dtype=dtype,
            attention=self.config.model.attention,
            quantization=self.tuning.quantization(dtype),
            device=place,
        )

    def open_data(self) -> list[Feed]:
        """The data entries, opened: a file that is missing is told before a tokenizer is downloaded."""
        return [self._feed(entry) for entry in self.config.data]

    def open_choices(self) -> list[Feed]:
        """The multiple-choice questions of the evaluation, opened."""
        return [self._feed(entry) for entry in self.config.evaluation.choices]

    def prepare_data(self, tokenizer: PreTrainedTokenizerBase, feeds: list[Feed] | None = None) -> Prepared:
        """The rows of every data entry (of `feeds`, if they are open already), mapped, encoded and packed, and the
        report. Raises DataError.
        """
        config = self.config
        encoder = Encoder(
            self.template, tokenizer, max_length=config.max_length, learn=config.learn, too_long=config.too_long
        )
        return prepare(
            self.open_data() if feeds is None else feeds,
            encoder,
            pack=config.pack,
            deduplicate=config.deduplicate,
            holdout=config.evaluation.holdout,
            seed=config.seed,
        )

    def _feed(self, entry: DataSettings) -> Feed:
        source = open_source(entry.path, split=entry.split, subset=entry.subset, sheet=entry.sheet, limit=entry.limit)
        return Feed(source, self._mapper(entry, source), entry.system, entry.weight)

    def _mapper(self, entry: DataSettings, source: Source) -> Mapper:
        """The mapper that a data entry names, its options bound; for "auto", the one that the rows speak for."""
        name = entry.mapper
        if name == "auto":
            name = recognise(source)
            if name == "preference" and entry.options.get("take") != "chosen":
                raise DataError(
                    f"data {entry.path} holds preference pairs, by its columns: got mapper=auto, and nothing learns "
                    "from pairs yet; set options take=chosen to train on the chosen answers, or name another mapper"
                )
            log.info("%s: mapper %s, by its columns", source.name, name)
        return bind_mapper(name, entry.options, self.components)


def recognise(source: Source) -> str:
    """The mapper that the first readable rows speak for, all their columns together.

    Raises DataError where no row can be read, and where no mapper reads these columns.
    """
    rows: list[dict[str, Any]] = []
    problem: DataError | None = None
    try:
        for row in source.read():
            if isinstance(row, DataError):
                problem = problem or row
            else:
                rows.append(row.values)
            if len(rows) == PROBED:
                break
    except DataError as error:  # the file cannot be read on; preparing it will tell
        problem = problem or error
    if not rows:
        raise problem or DataError(f"data {source.name} has no rows; give a file with rows")
    return choose(list(dict.fromkeys(column for row in rows for column in row)), rows)


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
    tuning = _strategy(config.tuning, "tuning", found)
    if not isinstance(tuning, Tuning):
        raise ConfigError(f"tuning.name should be a tuning strategy: got {config.tuning.name}, a distributed one")
    distributed = config.distributed
    if isinstance(distributed, str):
        distributed = ComponentSettings(name=distributed)
    run_on = _strategy(distributed, "distributed", found)
    if not isinstance(run_on, Distributed):
        raise ConfigError(f"distributed should be a distributed strategy: got {distributed.name}, one of tuning")
    for entry in (*config.data, *config.evaluation.choices):
        if entry.mapper != "auto":
            bind_mapper(entry.mapper, entry.options, found)
    run = Run(
        config=config,
        model=found.models[config.model.name],
        template=find_template(config.template, found),
        tuning=tuning,
        distributed=run_on,
        components=found,
    )
    refuse_contradictions(run)
    return run


def _strategy(settings: ComponentSettings, section: str, found: Components) -> Strategy:
    """The strategy that a section names, made with the section's options."""
    kind = found.strategies[settings.name]
    strangers = [option for option in settings.options if option not in kind.model_fields]
    if len(strangers) > 1:
        raise ConfigError(
            f"{section}.name={settings.name} has no such options: got {', '.join(strangers)}, which are another "
            f"strategy's; take them out, or start from a config of {settings.name} (xtune list-cfg)"
        )
    try:
        return kind(**settings.options)
    except ValidationError as error:
        raise ConfigError(explain(error, kind, f"{section} {settings.name}")) from error


def find_template(name: str, found: Components) -> ChatTemplate:
    """A registered template, or that of a file, which ends in .json. Raises UnknownName or ConfigError."""
    if name.endswith((".jinja", ".jinja2", ".j2")):
        raise ConfigError(
            f"a chat template cannot be a Jinja file, which does not say what is learnt: got {name}; "
            f"write the fields of xtune.ChatTemplate to a .json file"
        )
    if not name.endswith(".json"):
        return found.templates[name]
    if not Path(name).is_file():
        raise ConfigError(f"chat template file does not exist: got {name}; give a .json file, or a registered name")
    return cast(ChatTemplate, load_template(name))


class OutsideMapper(partial):  # type: ignore[type-arg]
    """A mapper that is not built in, its options bound: what it raises names whose it is.

    It is a partial, so that prepared data is told apart by the source of the function inside.
    """

    described: str

    def __call__(self, row: Mapping[str, Any]) -> Any:
        try:
            return super().__call__(row)
        except DataError:
            raise
        except Exception as error:
            raise DataError(
                f"{self.described} fails with {type(error).__name__}: got {error}; mend it or the row"
            ) from error


def bind_mapper(name: str, options: Mapping[str, Any], found: Components) -> Mapper:
    """The mapper of this name, or of this place (package.module:function), with its options bound.

    Raises UnknownName, and ConfigError for a function that cannot be imported and for an option that it does not take.
    """
    mapper: Mapper = import_mapper(name) if ":" in name else found.mappers[name]
    known = list(inspect.signature(mapper).parameters)[1:]
    for option in options:
        if option not in known:
            raise ConfigError(f"mapper {name} has no option {option!r}; {suggestion(option, known)}")
    owner = None if ":" in name else found.mappers.owner(name)
    if owner == "xtune":
        for option, value in options.items():
            if isinstance(value, (list, dict)):
                raise ConfigError(f"mapper {name}, option {option}, should be text: got {value!r}; give one value")
        return partial(mapper, **options) if options else mapper
    bound = OutsideMapper(mapper, **options)
    bound.described = f"mapper {name}" + (f" of plugin {owner}" if owner else "")
    return bound


def import_mapper(place: str) -> Mapper:
    """The function at `package.module:function`. The working directory counts too, after all that is installed."""
    module_name, _, function_name = place.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        mapper = getattr(import_module(module_name), function_name)
    except Exception as error:  # whatever the module's own code raises
        raise ConfigError(
            f"mapper {place} cannot be imported: got {type(error).__name__}: {error}; "
            f"write package.module:function, of a module that is installed or in the working directory"
        ) from error
    if not callable(mapper):
        raise ConfigError(f"mapper {place} should be a function: got {type(mapper).__name__}; name another one")
    return cast(Mapper, mapper)
