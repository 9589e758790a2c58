"""A path -> a transformers model or tokenizer. No code that lies beside the weights is ever executed."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from xtune.compat.transformers import causal_classes, takes_sdpa
from xtune.errors import ModelError
from xtune.foreign import foreign
from xtune.models.gguf import gguf_folder
from xtune.models.legacy import legacy_model_class, legacy_tokenizer_class
from xtune.models.placement import refuse_by_headers, refuse_misplaced
from xtune.models.skeleton import refuse_absurd
from xtune.models.weight_files import refuse_damaged, weight_files
from xtune.paths import PACKAGE, packaged
from xtune.quantization.bits import Int8, Nf4
from xtune.quantization.stored import refuse_requantizing, stored_as

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

WEIGHT_FILES = ("*.safetensors", "*.bin", "*.safetensors.index.json", "*.bin.index.json")
BITS = {4: Nf4, "4bit": Nf4, "nf4": Nf4, 8: Int8, "8bit": Int8, "int8": Int8}
KNOWN = {
    "trust_remote_code": "it needs code from its own folder, which xtune never runs; use a model that transformers has",
    "couldn't connect": "it is not on this machine, and the hub cannot be reached; give a local folder, or try again",
    "Weights only load failed": (
        "its .bin file is damaged, or holds code or objects beside tensors, which xtune never unpickles; "
        "give a model with safetensors"
    ),
}
"""What an error of others means, by words of it."""


def load_model(
    path: str | Path,
    *,
    dtype: str | torch.dtype = "auto",
    attention: str = "auto",
    quantization: Any = None,
    device: str | torch.device | None = None,
) -> PreTrainedModel:
    """The causal language model at `path`: a hub id, a local folder, a GGUF file or `package:MODULE/FILE`.

    `dtype` "auto" is bfloat16 on a CUDA device that has it, else float32. `attention` "auto" is flash_attention_2
    where it is installed and fits, else sdpa, or eager where that does not fit. `quantization` is 4 (NF4, double
    quantisation), 8, a transformers quantization config, or None. `device` defaults to the first CUDA device, else the
    CPU.
    Raises ModelError where there is no such model, where its files are not whole or lack weights that its class needs,
    and where it could only run with remote code.
    """
    import torch

    place = torch.device(device) if device is not None else torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = load_on_cpu(path, dtype=dtype, attention=attention, quantization=quantization, device=place)
    return model if getattr(model, "is_quantized", False) else model.to(place)


def load_on_cpu(
    path: str | Path, *, dtype: str | torch.dtype, attention: str, quantization: Any, device: torch.device
) -> PreTrainedModel:
    """load_model's model for `device`, still on the CPU. A quantized one is on the device: that is where it is made."""
    dtype = pick_dtype(dtype, device)
    folder = local_folder(path)
    options: dict[str, Any] = {"dtype": dtype}
    with told_in_one_line(path):
        config, legacy = read_config(folder)
        if quantization is not None:
            options["quantization_config"] = quantization_config(quantization, dtype)
            refuse_requantizing(path, config, options["quantization_config"])
        if quantization is not None or stored_as(config):
            options["device_map"] = {"": device}
        kind, config = causal_class(config, legacy)
        flash = not getattr(config, "alibi", False)
        attention = pick_attention(attention, device, dtype, flash=flash, sdpa=takes_sdpa(kind))
        options["attn_implementation"] = attention
        return load_whole(path, folder, kind, config, options)


def load_whole(
    path: str | Path, folder: str, kind: type[PreTrainedModel], config: PreTrainedConfig, options: dict[str, Any]
) -> PreTrainedModel:
    """The model of class `kind` in `folder`, every weight of it from its files. `path` is what the user calls it.

    Raises ModelError for files that are damaged, and for weights that are missing, of another shape or without a place.
    """
    files = weight_files(Path(folder), config) if Path(folder).is_dir() else []
    refuse_damaged(files)
    # before, since what is missing or of another shape would be made up first, however large it is
    refuse_by_headers(path, kind, config, files)
    model, found = kind.from_pretrained(folder, config=config, output_loading_info=True, **options)
    refuse_misplaced(path, found, config)
    return model


def refuse_incomplete(path: str | Path) -> None:
    """Raises ModelError where the files of the model at `path` (see load_model) are damaged, or lack what its class
    needs, without reading the weights. Says nothing of a hub id, and little of a model that is stored quantized.
    """
    folder = Path(local_folder(path))
    if not folder.is_dir():
        return
    with told_in_one_line(path):
        config, legacy = read_config(folder)
        kind, config = causal_class(config, legacy)
        files = weight_files(folder, config)
        refuse_damaged(files)
        refuse_by_headers(path, kind, config, files)


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
            f"a model of type {config.model_type} is no causal language model: got {type(config).__name__}; "
            f"give one that generates text"
        )
    named = set(config.architectures or [])
    found = next((kind for kind in kinds if kind.__name__ in named), kinds[0])
    inner = config.sub_configs.get("text_config")
    return found, text if inner is not None and found.config_class is inner else config


def load_tokenizer(path: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer beside the model at `path` (see load_model). Raises ModelError where there is none."""
    from transformers import AutoTokenizer

    folder = local_folder(path, weights=False)
    with told_in_one_line(path):
        chosen = legacy_tokenizer_class(folder) or AutoTokenizer
        return chosen.from_pretrained(folder, trust_remote_code=False)


def refuse_absent(path: str | Path, *, weights: bool = True) -> None:
    """Raises ModelError for a local model that is not there, by its folder's names alone."""
    place = Path(packaged(str(path), ModelError))
    if place.suffix != ".gguf" or not place.is_file():
        local_folder(path, weights=weights)


def local_folder(path: str | Path, *, weights: bool = True) -> str:
    """A local model's folder, checked; a hub id comes back as it is. A GGUF file is converted to a folder once."""
    place = Path(packaged(str(path), ModelError))
    if place.suffix == ".gguf":
        if not place.is_file():
            raise ModelError(f"GGUF file does not exist: got {path}; give the path of one")
        return str(gguf_folder(place))
    if place.is_dir():
        if not (place / "config.json").is_file() and weights:
            raise ModelError(f"model folder has no config.json: got {path}; give the folder that holds it")
        if weights and (place / "adapter_config.json").is_file():
            raise ModelError(
                f"model folder holds an adapter too, which would be loaded with it: got {path}; "
                f"move adapter_config.json and adapter_model.* to a folder of their own"
            )
        if weights and not any(next(place.glob(pattern), None) for pattern in WEIGHT_FILES):
            raise ModelError(f"model folder has no weights (*.safetensors, *.bin): got {path}; is it all there?")
        if not weights and not any((place / name).is_file() for name in ("tokenizer_config.json", "config.json")):
            raise ModelError(f"model folder has neither a tokenizer nor a config.json: got {path}; give another")
        return str(place)
    if str(path).startswith((PACKAGE, "/", "./", "../", "~")) or len(place.parts) != 2 or place.is_file():
        raise ModelError(f"model does not exist: got {path}; give a folder, a .gguf file or a hub id (owner/name)")
    return str(path)


def pick_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """The torch dtype that a config's name means on `device`."""
    import torch

    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        fast = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if fast else torch.float32
    if not isinstance(found := getattr(torch, dtype, None), torch.dtype):
        raise ModelError(f"unknown dtype: got {dtype!r}; use auto, float32, bfloat16 or float16")
    return found


def pick_attention(
    attention: str, device: torch.device, dtype: torch.dtype, *, flash: bool = True, sdpa: bool = True
) -> str:
    """The attention implementation that a config's name means on `device`, for a model that `flash` and `sdpa` fit.

    Gemma 2 caps its scores, which sdpa cannot do.
    """
    import torch

    fits = device.type == "cuda" and dtype in (torch.bfloat16, torch.float16)
    if attention == "auto":
        if flash and fits and find_spec("flash_attn"):
            return "flash_attention_2"
        return "sdpa" if sdpa else "eager"
    if attention == "flash_attention_2":
        if not find_spec("flash_attn"):
            raise ModelError("flash attention is missing: got attention=flash_attention_2; pip install flash-attn")
        if not fits:
            raise ModelError(
                f"flash attention needs a CUDA device and bfloat16 or float16: got {device.type} and {dtype}; use sdpa"
            )
    return attention


def quantization_config(quantization: Any, compute_dtype: torch.dtype) -> Any:
    """A transformers quantization config; 4 and 8 stand for bitsandbytes NF4 with double quantization and int8."""
    if not isinstance(quantization, (int, str)):
        return quantization
    if quantization not in BITS:
        raise ModelError(f"unknown quantization: got {quantization!r}; use 4, 8 or a transformers quantization config")
    return BITS[quantization]().load_options(compute_dtype)


@contextmanager
def told_in_one_line(path: str | Path) -> Iterator[None]:
    """Turns whatever transformers raises for a bad or missing model into one ModelError."""
    with foreign(f"model {path} cannot be loaded", ModelError, "check its files, or download it again"):
        try:
            yield
        except (OSError, ValueError, RuntimeError, UnpicklingError) as error:
            if known := next((meaning for words, meaning in KNOWN.items() if words in str(error)), None):
                raise ModelError(f"model {path} cannot be loaded: {known}") from error
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
