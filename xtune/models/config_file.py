"""A model's config.json, and its class. No code that lies beside it is executed."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

from xtune.compat.transformers import causal_classes
from xtune.errors import ModelError
from xtune.foreign import foreign
from xtune.models.legacy import legacy_model_class
from xtune.models.place import local_folder
from xtune.models.skeleton import refuse_absurd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedConfig, PreTrainedModel


KNOWN = {
    "trust_remote_code": (
        "it needs code from its own folder, which xtune never runs",
        "use a model that transformers has",
    ),
    "couldn't connect": (
        "it is not on this machine, and the hub cannot be reached",
        "give a local folder, or try again",
    ),
    "Weights only load failed": (
        "its .bin file is damaged, or holds code or objects beside tensors, which xtune never unpickles",
        "give a model with safetensors",
    ),
}
"""What an error of others means and what to do, by words of it."""


def causal_class(
    config: PreTrainedConfig, legacy: type[PreTrainedModel] | None
) -> tuple[type[PreTrainedModel], PreTrainedConfig]:
    """The class of the causal language model with this config, and the config that it takes: of a multimodal model,
    which some classes are the text part of, that of the text. Raises ModelError where transformers has none.
    """
    text = config.get_text_config()
    refuse_absurd(lambda name: getattr(text, name, None))
    if legacy is not None:
        return legacy, config
    kinds = causal_classes(config)
    if not kinds:
        raise ModelError(
            f"a model of type {config.model_type} is no causal language model: got {type(config).__name__}",
            "give one that generates text",
        )
    named = set(config.architectures or [])
    found = next((kind for kind in kinds if kind.__name__ in named), kinds[0])
    inner = config.sub_configs.get("text_config")
    return found, text if inner is not None and found.config_class is inner else config


@contextmanager
def told_in_one_line(path: str | Path) -> Iterator[None]:
    """Turns whatever transformers raises for a bad or missing model into one ModelError."""
    with foreign(f"model {path} cannot be loaded", ModelError, "check its files, or download it again"):
        try:
            yield
        except (OSError, ValueError, RuntimeError, UnpicklingError) as error:
            if known := next((meaning for words, meaning in KNOWN.items() if words in str(error)), None):
                raise ModelError(f"model {path} cannot be loaded: {known[0]}", known[1]) from error
            raise


def read_config(folder: str | Path) -> tuple[PreTrainedConfig, type[PreTrainedModel] | None]:
    """The config of the model in a folder or hub repository, and its class where it is one of the legacy families."""
    from transformers import AutoConfig, PreTrainedConfig

    legacy = legacy_model_class(PreTrainedConfig.get_config_dict(folder)[0])
    reader = legacy.config_class if legacy else AutoConfig
    return reader.from_pretrained(folder, trust_remote_code=False), legacy


def load_config_file(path: str | Path) -> PreTrainedConfig:
    """What the config.json of the model at `path` (see load_model) says. Raises ModelError where there is none."""
    folder = local_folder(path)
    with told_in_one_line(path):
        return read_config(folder)[0]


def stored_dtype(path: str | Path) -> str:
    """Name of the dtype that the weights at `path` are stored in, by its config; float32 where that does not say."""
    import torch

    return str(getattr(load_config_file(path), "dtype", None) or torch.float32).removeprefix("torch.")
