"""A run small enough for a test: a Llama of two layers, a tokenizer of fifty words, and packs made from a seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch

from xtune.config.validate import validate
from xtune.conversation import IGNORE, Preference, Tokens
from xtune.data import dataset
from xtune.data.pack import Layout, Pack
from xtune.data.report import Report
from xtune.distributed import DISTRIBUTED
from xtune.quantization.quantization import Quantization
from xtune.registries import Components, components
from xtune.resolve import find_callbacks
from xtune.templates.template import ChatTemplate
from xtune.tuning import TUNING

VOCABULARY = 60
COMPONENTS = Components([])


class Packs:
    """Packs of whole samples of very different lengths, some with hardly a trained token."""

    def __init__(self, samples: list[list[int]], per_pack: int) -> None:
        self.samples, self.per_pack = samples, per_pack

    def __len__(self) -> int:
        return -(-len(self.samples) // self.per_pack)

    def __getitem__(self, index: int) -> Pack:
        chosen = self.samples[index * self.per_pack : (index + 1) * self.per_pack]
        labels = [learnt_part(ids) for ids in chosen]
        lengths = [len(ids) for ids in chosen]
        whole = (list(chain(*chosen)), list(chain(*labels)), lengths)
        return Pack(*(np.array(part, dtype=np.int32) for part in whole))

    order_name = "shuffled"

    @property
    def fingerprint(self) -> str:
        return repr((self.samples, self.per_pack))

    def order(self, seed: int, epoch: int, step: int) -> np.ndarray:
        return np.random.default_rng((seed, epoch)).permutation(len(self))


def learnt_part(ids: list[int]) -> list[int]:
    asked = 1 + ids[0] % max(1, len(ids) - 1)
    return [IGNORE] * asked + ids[asked:]


def shifted(labels_BT: torch.Tensor) -> torch.Tensor:
    """Labels as collate writes them: each beside the id before it."""
    return torch.cat([labels_BT[:, 1:], torch.full_like(labels_BT[:, :1], IGNORE)], dim=1)


def make_samples(count: int, longest: int = 24, seed: int = 0) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(5, VOCABULARY, random.integers(3, longest)).tolist() for _ in range(count)]


def make_pairs(count: int, seed: int = 0) -> list[Tokens]:
    """Chosen and rejected sequences in turns; the two of a pair begin alike, and what they share is not trained on."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        asked = random.integers(5, VOCABULARY, random.integers(1, 12))
        for _ in range(2):
            ids = np.concatenate([asked, random.integers(5, VOCABULARY, random.integers(1, 12))]).astype(np.int32)
            found.append(Tokens(ids, np.where(np.arange(len(ids)) < len(asked), np.int32(IGNORE), ids)))
    return found


class InOrder(dataset.Packs):
    """Packs that every epoch visits in the same order."""

    def order(self, seed: int, epoch: int, step: int) -> np.ndarray:
        return np.arange(len(self))


def pair_packs(samples: list[Tokens], pairs: range, per_pack: int = 1, kind: type = dataset.Packs) -> dataset.Packs:
    """Packs of those `pairs` among samples that make_pairs made."""
    starts = np.array([*range(0, len(pairs), per_pack), len(pairs)])
    lengths = np.array([len(one.ids) + len(other.ids) for one, other in zip(samples[::2], samples[1::2], strict=True)])
    of_packs = np.add.reduceat(lengths[pairs.start : pairs.stop], starts[:-1]) if len(pairs) else lengths[:0]
    return kind(samples, Layout(np.array(pairs, dtype=np.int64), starts), of_packs, per_pack > 1, 2)


class Data(NamedTuple):
    dataset: Any
    report: Report


def tiny_llama(**options: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    values = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return LlamaForCausalLM(LlamaConfig(**(values | options)))


def tiny_tokenizer() -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<s>", "</s>", "<unk>", *(f"w{i}" for i in range(4, VOCABULARY))]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def tiny_config(
    tuning: dict[str, Any] | None = None, distributed: str | dict[str, Any] = "auto", **sections: Any
) -> Any:
    values: dict[str, Any] = {
        "model": {"name": "tiny", "path": "no-owner/tiny"},
        "template": "tiny",
        "tuning": tuning or {"name": "full"},
        "distributed": distributed,
        "data": [{"path": "tiny"}],
        "max_length": 64,
        "optimizer": {"lr": 1e-2},
        "schedule": {"name": "cosine", "warmup_ratio": 0.25},
        "train": {"batch_size": 2, "accumulate": 2, "epochs": 2},
        "checkpoint": {"every": 3, "keep": 2},
    }
    for section, changes in sections.items():
        values[section] = values.get(section, {}) | changes if isinstance(changes, dict) else changes
    return validate(values, "test")


@dataclass
class TinyRun:
    """What the engine uses of a Run."""

    config: Any
    samples: list[list[int]] = field(default_factory=lambda: make_samples(30))
    held_out: list[list[int]] = field(default_factory=lambda: make_samples(6, seed=1))
    per_pack: int = 2
    template: ChatTemplate = field(default_factory=lambda: ChatTemplate(user="{text} "))
    model_options: dict[str, Any] = field(default_factory=dict)
    components: Any = field(default_factory=lambda: SimpleNamespace(plugins=[]))

    @property
    def tuning(self) -> Any:
        return TUNING[self.config.tuning.name](**self.config.tuning.options)

    @property
    def objective(self) -> Any:
        return components([]).objectives[self.config.objective.name](**self.config.objective.options)

    @property
    def quantization(self) -> Any:
        return Quantization()

    @property
    def optimizer(self) -> Any:
        return COMPONENTS.optimizers[self.config.optimizer.name]()

    @property
    def schedule(self) -> Any:
        return COMPONENTS.schedules[self.config.schedule.name]

    @property
    def distributed(self) -> Any:
        chosen = self.config.distributed
        return DISTRIBUTED[chosen]() if isinstance(chosen, str) else DISTRIBUTED[chosen.name](**chosen.options)

    @property
    def callbacks(self) -> Any:
        return tuple(find_callbacks(self.config, COMPONENTS.callbacks))

    @property
    def tokenizer(self) -> Any:
        return tiny_tokenizer()

    def load_model(self, device: Any = None, on_cpu: bool = False) -> Any:
        model = tiny_llama(**self.model_options)
        model.name_or_path = "tiny"
        return model

    def embedding_rows(self) -> int:
        return int(self.load_model().config.vocab_size)

    def open_data(self) -> list[Any]:
        return []

    def open_choices(self) -> list[Any]:
        return []

    def prepare_data(self, feeds: list[Any]) -> Data:
        if self.objective.takes is Preference:
            samples = make_pairs(36)
            last = range(30, 36) if self.config.evaluation.holdout else range(30, 30)
            packs = (pair_packs(samples, pairs, self.per_pack) for pairs in (range(30), last))
            return Data(dataset.Dataset(*packs, "tiny"), Report(read=30, trained=30))
        held_out = self.held_out if self.config.evaluation.holdout else []
        found = SimpleNamespace(train=Packs(self.samples, self.per_pack), held_out=Packs(held_out, self.per_pack))
        return Data(found, Report(read=len(self.samples), trained=len(self.samples)))


def weights_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    found = {name: t for file in sorted(checkpoint.glob("*.safetensors")) for name, t in load_file(file).items()}
    assert found, f"{checkpoint} has no weights"  # else two folders without any would be alike
    return found
