"""A model without weights: its class on torch's meta device, to count what it has."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from xtune.compat.transformers import causal_classes
from xtune.errors import ConfigError, ModelError
from xtune.foreign import foreign
from xtune.text import shown

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
    "tie_word_embeddings",
)
"""What estimates read, under the names that most configs have; others translate them."""
MOST = {
    "num_hidden_layers": 1_000,
    "num_local_experts": 10_000,
    "num_experts": 10_000,
    "n_routed_experts": 10_000,
    "num_attention_heads": 2**20,
    "num_key_value_heads": 2**20,
    "head_dim": 2**20,
    "hidden_size": 2**20,
    "intermediate_size": 2**22,
    "vocab_size": 2**24,
}
"""Far beyond every model that there is: a class that is built to larger sizes takes all time or all memory."""
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")


class Layer(NamedTuple):
    """A kind of matrix in a model: its name, inputs and outputs, and whether a linear layer holds it."""

    name: str
    inputs: int
    outputs: int
    linear: bool


class Counted(NamedTuple):
    """What a model's class has: parameters, tied ones once, and how many matrices of each kind but embeddings."""

    parameters: int
    layers: Mapping[Layer, int]


def refuse_absurd(value_of: Callable[[str], Any]) -> None:
    """Raises ModelError for a size, by its name in a config, that no model can have: see MOST."""
    for name, most in MOST.items():
        value = value_of(name)
        if isinstance(value, (int, float)) and value > most:
            raise ModelError(
                f"config.json has {name}={shown(value)}, and no model has more than {most:,}",
                "download it again",
            )


def build(config: Mapping[str, Any]) -> Any:
    """The model of a ModelSpec's config, on torch's current device, its weights random.

    Raises ConfigError where neither transformers nor xtune has the class, or the class does not take these values, and
    ModelError as refuse_absurd does.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    from xtune.models.legacy import legacy_model_class

    kind = config.get("model_type")
    values = {key: value for key, value in config.items() if key != "model_type"}
    refuse_absurd(config.get)
    with foreign(f"no model can be built of the sizes of this {kind}", ConfigError, "check its config.json"):
        legacy = legacy_model_class(config)
        if legacy is not None:
            return legacy(legacy.config_class(**values))
        made = AutoConfig.for_model(kind, **values) if kind in _known() else None
        if not causal_classes(made):
            raise ConfigError(f"no class for the architecture: got `{kind}`", "this model cannot be trained")
        return AutoModelForCausalLM.from_config(made)


def own_sizes(config: PreTrainedConfig) -> dict[str, Any]:
    """A model's config as the values of a ModelSpec's, the usual sizes among them under their usual names."""
    text = config.get_text_config()
    sizes = {name: value for name in SIZES if (value := getattr(text, name, None)) is not None}
    found = {**text.to_dict(), "model_type": text.model_type, **sizes}
    found.setdefault("num_key_value_heads", found.get("num_attention_heads"))
    found.setdefault("intermediate_size", 4 * found.get("hidden_size", 0))
    return {key: value for key, value in found.items() if key not in ("vendor", "quantization_config", "dtype")}


def counted(config: Mapping[str, Any]) -> Counted:
    """The matrices of a model's class, for the many that no table of ours knows. Raises ConfigError like `build`."""
    return _counted(json.dumps(config, sort_keys=True, default=str))


@lru_cache(8)
def _counted(config: str) -> Counted:
    import torch
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    with torch.device("meta"):
        model = build(json.loads(config))
    head = model.get_output_embeddings()
    layers: Counter[Layer] = Counter()
    for path, module in model.named_modules():
        name = path.rpartition(".")[2]
        if isinstance(module, (nn.Linear, Conv1D)) and module is not head:
            rows, columns = module.weight.shape
            inputs, outputs = (columns, rows) if isinstance(module, nn.Linear) else (rows, columns)
            layers[Layer(name, inputs, outputs, True)] += 1
        for key, weight in module.named_parameters(recurse=False):
            if weight.dim() == 3:  # the matrices of all experts
                experts, outputs, inputs = weight.shape
                layers[Layer(f"{name}.{key}", inputs, outputs, False)] += experts
    return Counted(sum(weight.numel() for weight in model.parameters()), layers)


def share_of_experts(config: Mapping[str, Any]) -> float:
    """Which part of the routed experts computes one token."""
    number = next((config[name] for name in EXPERTS if config.get(name)), 0)
    return config.get("num_experts_per_tok", 1) / number if number else 1.0


def _known() -> Any:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return CONFIG_MAPPING
