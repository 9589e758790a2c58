"""GGUF files (llama.cpp's format): read by transformers, written once as an ordinary model folder.

transformers reads a GGUF file by dequantising it to float32, which takes a while and cannot be combined with a
quantisation of one's own. So the first use writes a folder of safetensors to the cache; later ones load that.
"""

from __future__ import annotations

import logging
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from xtune.atomic import system_error, whole_folder, workshop
from xtune.compat.transformers import forget_quantizer
from xtune.errors import ModelError, XtuneError
from xtune.models.placement import refuse_misplaced
from xtune.models.weight_files import kept_digest, refuse_damaged
from xtune.paths import cache_root

log = logging.getLogger(__name__)


def gguf_folder(file: Path) -> Path:
    """The model folder made from `file`; made now if it is not in the cache yet. Needs 4 bytes a parameter of disk."""
    refuse_damaged([file])
    folder = cache_root() / "gguf" / f"{file.stem}-{kept_digest(file)[:16]}"
    if folder.is_dir():
        return folder
    try:
        with workshop(folder, wait=True) as place:
            if not folder.is_dir():  # another process may have been faster
                log.info("converting %s to a model folder, once: %s", file.name, folder)
                with whole_folder(folder, place / "new") as stage, redirect_stderr(StringIO()):  # for progress bars
                    convert(file, stage)
    except XtuneError:
        raise
    except Exception as error:  # a damaged file fails anywhere in its reader, with whatever error that brings
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        refused = system_error(error)
        cure = "set XTUNE_CACHE to a folder with room" if refused and refused.errno else "is the download complete?"
        raise ModelError(f"GGUF file {file} cannot be converted: {reason.rstrip('.')}", cure) from error
    return folder


def convert(file: Path, folder: Path) -> None:
    """Writes config, tokenizer and float32 weights of a GGUF file to `folder`."""
    import torch
    import transformers

    where: dict[str, Any] = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    transformers.AutoTokenizer.from_pretrained(**where).save_pretrained(folder)
    if hasattr(transformers, "GgufConfig"):  # from 5.2x on a GGUF file is a quantised model unless asked otherwise
        where["quantization_config"] = transformers.GgufConfig(dequantize=True)
    model, found = transformers.AutoModelForCausalLM.from_pretrained(
        **where, dtype=torch.float32, output_loading_info=True
    )
    refuse_misplaced(file, found, model.config)
    forget_quantizer(model)
    model.save_pretrained(folder)
