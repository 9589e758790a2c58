"""What a run is: its config with every name looked up, and how the large things are made: tokenizer, model, data."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from xtune.callbacks.callback import Callback
from xtune.config.schema import Config, DataSettings
from xtune.conversation import Conversation
from xtune.data.feed import Feed
from xtune.data.prepare import Prepared, prepare
from xtune.distributed.parallel import Distributed
from xtune.encoding.encoder import Encoder, Recipe
from xtune.errors import DataError
from xtune.mappers.bind import Mapper, bind_mapper, recognise
from xtune.models.config_file import load_config_file
from xtune.models.device import pick_dtype
from xtune.models.load import load_model, load_on_cpu, load_tokenizer
from xtune.models.place import refuse_absent
from xtune.models.spec import ModelSpec
from xtune.models.vocabulary import embedding_rows
from xtune.objectives.objective import Objective
from xtune.optimizers.optimizer import Optimizer
from xtune.optimizers.schedule import Shape
from xtune.quantization.quantization import Quantization
from xtune.quantization.stored import refuse_quantized, refuse_requantizing, refuse_unasked
from xtune.registries import Components
from xtune.sources.paths import find_files
from xtune.sources.source import Source, open_source
from xtune.templates.template import ChatTemplate
from xtune.tuning.tuning import Tuning

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """The objects that a run needs, and how it makes the large ones: tokenizer, model and data."""

    config: Config
    model: ModelSpec
    template: ChatTemplate
    objective: Objective
    tuning: Tuning
    quantization: Quantization
    optimizer: Optimizer
    schedule: Shape
    distributed: Distributed
    callbacks: tuple[Callback, ...]
    components: Components

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return load_tokenizer(self.config.model.tokenizer or self.config.model.path)

    def refuse_absent(self) -> None:
        """Raises DataError or ModelError for a local file or folder that is not there: before anything is downloaded,
        imported or started.
        """
        for entry in (*self.config.data, *self.config.evaluation.choices):
            find_files(entry.path, entry.split, self.components.sources)
        refuse_absent(self.config.model.path)
        if self.config.model.tokenizer:
            refuse_absent(self.config.model.tokenizer, weights=False)

    def load_model(self, device: str | torch.device | None = None, *, on_cpu: bool = False) -> PreTrainedModel:
        """The base model as the tuning strategy wants it loaded (quantized or not), not yet prepared for tuning.

        With `on_cpu` it is loaded for `device` but stays on the CPU, unless it is quantized.
        """
        import torch

        self.refuse_stored_bits()
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        dtype = pick_dtype(self.config.model.dtype, place)
        model = (load_on_cpu if on_cpu else load_model)(
            self.config.model.path,
            dtype=dtype,
            attention=self.config.model.attention,
            quantization=self.quantization.load_options(dtype),
            device=place,
        )
        self.quantization.prepare(model)
        return model

    def refuse_stored_bits(self) -> None:
        """Raises ModelError where the model is stored in few bits, and the settings ask for something else."""
        import torch

        path, wanted = self.config.model.path, self.quantization.load_options(torch.float32)
        config = load_config_file(path)
        if self.tuning.trains_everything:
            refuse_quantized(path, config, "its weights cannot be trained whole")
        elif wanted is None:
            refuse_unasked(path, config)
        else:
            refuse_requantizing(path, config, wanted)

    def embedding_rows(self) -> int:
        """Rows of the model's embeddings, by its config.json: known before its weights are loaded."""
        return embedding_rows(load_config_file(self.config.model.path))

    def open_data(self) -> list[Feed]:
        """The data entries, opened: a file that cannot be read is reported before a tokenizer is loaded."""
        return [self._feed(entry) for entry in self.config.data]

    def open_choices(self) -> list[Feed]:
        """The multiple-choice questions of the evaluation, opened."""
        return [self._feed(entry) for entry in self.config.evaluation.choices]

    def prepare_data(self, feeds: list[Feed] | None = None) -> Prepared:
        """The rows of every data entry (of `feeds`, if they are open already), mapped, encoded and packed, and the
        report. Raises DataError.
        """
        config = self.config
        learn = self.objective.loss_mask or config.learn
        encoder = Encoder(
            self.template, self.tokenizer, max_length=config.max_length, learn=learn, too_long=config.too_long
        )
        return prepare(
            self.open_data() if feeds is None else feeds,
            encoder,
            recipe=Recipe(self.objective.takes, self.objective.examples, self.objective.sequences),
            pack=config.pack,
            deduplicate=config.deduplicate,
            holdout=config.evaluation.holdout,
            seed=config.seed,
        )

    def _feed(self, entry: DataSettings) -> Feed:
        source = open_source(
            entry.path,
            split=entry.split,
            subset=entry.subset,
            sheet=entry.sheet,
            limit=entry.limit,
            readers=self.components.sources,
        )
        return Feed(source, self._mapper(entry, source), entry.system, entry.weight)

    def _mapper(self, entry: DataSettings, source: Source) -> Mapper:
        """The mapper that a data entry names, its options bound; for "auto", the one that the rows speak for."""
        name = entry.mapper
        if name == "auto":
            name = recognise(source)
            if name == "preference" and entry.options.get("take") != "chosen" and self.objective.takes is Conversation:
                raise DataError(
                    f"data {entry.path} holds preference pairs, by its columns, and the objective trains on "
                    "conversations",
                    "set objective.name=dpo, or options take=chosen to train on the chosen answers",
                )
            log.info("%s: mapper %s, by its columns", source.name, name)
        return bind_mapper(name, entry.options, self.components.mappers)
