"""A path -> a transformers model or tokenizer. No code that lies beside the weights is ever executed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtune.compat.transformers import takes_sdpa
from xtune.models.config_file import causal_class, read_config, told_in_one_line
from xtune.models.device import pick_attention, pick_dtype, quantization_config
from xtune.models.legacy import legacy_tokenizer_class
from xtune.models.place import local_folder
from xtune.models.placement import refuse_by_headers, refuse_misplaced
from xtune.models.weight_files import refuse_damaged, weight_files
from xtune.quantization.stored import refuse_requantizing, stored_as

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)


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


def load_tokenizer(path: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer beside the model at `path` (see load_model). Raises ModelError where there is none."""
    from transformers import AutoTokenizer

    folder = local_folder(path, weights=False)
    with told_in_one_line(path):
        chosen = legacy_tokenizer_class(folder) or AutoTokenizer
        return chosen.from_pretrained(folder, trust_remote_code=False)
