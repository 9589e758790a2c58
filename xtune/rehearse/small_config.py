"""A config -> the same config in small: what is not on this machine, or takes longer than seconds, is replaced."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtune.config.override import apply_overrides
from xtune.config.validate import validate
from xtune.errors import ConfigError
from xtune.mappers.bind import bind_mapper
from xtune.models.load import load_tokenizer
from xtune.rehearse.small_data import ROWS, at_hand, example_rows, texts, write_rows
from xtune.rehearse.small_model import write_small_model
from xtune.rehearse.small_tokenizer import make_tokenizer, tokenizer_at_hand
from xtune.sources.source import open_source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xtune.config.schema import Config, DataSettings
    from xtune.run import Run

STEPS = 3
LENGTH = 512
"""Tokens of a sample, or of a pack, at most."""
MICRO_BATCHES = 2
"""Of a step at most, each of as many rows or packs at most."""
PROMPTS = 2
NEW_TOKENS = 8
CHOICES = [{"input": f"1 + {n}?\nA. {n}\nB. {n + 1}\nAnswer:", "output": "AB"[n % 2]} for n in range(4)]


@dataclass
class Small:
    """The config in small, what was replaced for it, and what it therefore cannot show."""

    config: Config
    replaced: list[str] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)

    def replace(self, what: str, by: str, unchecked: str = "") -> None:
        self.replaced.append(f"{what}: {by}")
        self.not_checked += [unchecked] if unchecked else []


def make_small(run: Run, folder: Path) -> Small:
    """Writes a small model and rows to `folder`, and returns the config that uses them.

    Raises ConfigError for a model whose sizes nobody gave or that has no class, and for data of which no row is known.
    """
    config, train, evaluation = run.config, run.config.train, run.config.evaluation
    small = Small(config)
    data = [_data(run, entry, folder / f"rows_{number}", small) for number, entry in enumerate(config.data)]
    _write_model(run, _tokenizer(run, data, small), folder / "model", small)
    length = min(config.max_length, LENGTH)
    small.replace("length of the run", f"{STEPS} steps of at most {MICRO_BATCHES * MICRO_BATCHES * length} tokens")
    if evaluation.choices:
        small.replace("multiple-choice questions", f"{len(CHOICES)} of a sum", "the multiple-choice questions")
        (folder / "choices.json").write_text(json.dumps(CHOICES), encoding="utf-8")
    changes = {
        "model.path": str(folder / "model"),
        "model.tokenizer": None,
        "data": data,
        "max_length": length,
        "train.batch_size": min(train.batch_size, MICRO_BATCHES),
        "train.accumulate": min(train.accumulate, MICRO_BATCHES),
        "train.max_steps": STEPS,
        "schedule.warmup_steps": config.schedule.warmup_steps and min(config.schedule.warmup_steps, STEPS - 1),
        "checkpoint.every": STEPS - 1,
        "checkpoint.keep": max(config.checkpoint.keep, 2),
        "evaluation.choices": [{"path": str(folder / "choices.json"), "mapper": "default"}] * bool(evaluation.choices),
        "evaluation.prompts": evaluation.prompts[:PROMPTS],
        "evaluation.max_new_tokens": NEW_TOKENS,
        **_for_this_machine(run, small),
    }
    small.config = validate(apply_overrides(config.model_dump(), changes), "the config in small")
    return small


def _data(run: Run, entry: DataSettings, stem: Path, small: Small) -> dict[str, Any]:
    """A data entry with rows that are on this machine."""
    values = entry.model_dump()
    if at_hand(entry.path, entry.split, run.components.sources):
        small.replace(f"rows of {entry.path}", f"the first {ROWS}")
        return {**values, "limit": min(entry.limit or ROWS, ROWS)}
    if entry.mapper == "auto":
        raise ConfigError(
            f"data {entry.path} cannot be rehearsed with mapper=auto: got no rows on this machine to choose by",
            "name the mapper, or give a local file",
        )
    rows = example_rows(entry.mapper, bind_mapper(entry.mapper, {}, run.components.mappers), entry.options)
    file = write_rows(rows, stem, entry.path, entry.sheet)
    small.replace(
        f"rows of {entry.path}", f"{len(rows)} as mapper {entry.mapper} documents them", f"the rows of {entry.path}"
    )
    return {**values, "path": str(file), "split": "train", "subset": None}


def _tokenizer(run: Run, data: list[dict[str, Any]], small: Small) -> PreTrainedTokenizerBase:
    settings = run.config.model
    place = tokenizer_at_hand(settings.tokenizer or settings.path)
    if place is not None:
        return load_tokenizer(place)
    readers = run.components.sources
    sources = [
        open_source(entry["path"], split=entry["split"], sheet=entry["sheet"], limit=ROWS, readers=readers)
        for entry in data
    ]
    read = [row.values for source in sources for row in source]
    asked = [run.config.evaluation.system, *run.config.evaluation.prompts]
    tokenizer = make_tokenizer(run.template, texts([*read, *asked]))
    small.replace("tokenizer", f"one of {len(tokenizer)} tokens with those of the template", "the model's tokenizer")
    return tokenizer


def _write_model(run: Run, tokenizer: PreTrainedTokenizerBase, folder: Path, small: Small) -> None:
    path, sizes = run.config.model.path, run.model.config
    if not sizes:
        raise ConfigError(
            f"model {run.config.model.name} cannot be rehearsed: got no config in its ModelSpec", "give it its sizes"
        )
    write_small_model(sizes, tokenizer, folder)
    small.replace(f"weights of {path}", f"random ones, same architecture ({sizes['model_type']})")
    small.not_checked.append(f"the weights of {path}: download, memory, speed, answers")


def _for_this_machine(run: Run, small: Small) -> dict[str, Any]:
    """Settings that this machine cannot follow, or not in seconds."""
    import torch

    config = run.config
    changes: dict[str, Any] = {}
    if not torch.cuda.is_available():
        small.not_checked.append("what needs a CUDA device: flash attention, paged optimizers, bfloat16 by default")
        if config.model.attention == "flash_attention_2":
            changes["model.attention"] = "auto"
            small.replace("model.attention=flash_attention_2", "auto")
    if config.train.compile is True:
        changes["train.compile"] = False
        small.replace("train.compile", "off", "compiled layers")
    if not all(map(find_spec, run.distributed.packages)):
        changes["distributed"] = "single"
        small.replace("DeepSpeed, which is not installed", "one process without it", "DeepSpeed")
    small.not_checked.append("several processes")
    return changes
