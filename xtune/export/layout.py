"""convert layout: checkpoints of the legacy families as the vendor had them, or as transformers' own classes do.

The original layout is what the vendor's ecosystem reads; the native one (Llama, Qwen2, GLM) servers load without code.
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any, Literal

from xtune.errors import ModelError
from xtune.export.chat_files import save_chat_files
from xtune.export.folder import whole_folder
from xtune.models.legacy.family import LegacyModel
from xtune.models.legacy.fast import fast_tokenizer
from xtune.models.legacy.sentencepiece import SentencePieceTokenizer
from xtune.models.load import load_model, load_tokenizer, local_folder, stored_dtype
from xtune.templates.store import load_template

log = logging.getLogger(__name__)

Layout = Literal["original", "native"]


def convert_layout(model: str, out: str | Path, layout: Layout, *, force: bool = False) -> None:
    """Writes the legacy `model` with its tokenizer to `out` in `layout`, in the dtype it is stored in."""
    with whole_folder(out, force=force) as folder:
        loaded = load_model(model, dtype=stored_dtype(model), device="cpu")
        save_layout(loaded, model, layout, folder)
        template = load_template(model) if Path(model).is_dir() else None
        tokenizer = load_tokenizer(model)
        save_chat_files(template, tokenizer, folder)
        if layout == "native":
            save_native_tokenizer(tokenizer, folder)


def save_layout(model: Any, source: str | Path, layout: Layout, folder: Path) -> None:
    """Writes weights and config of `model`, which was loaded from `source`, to `folder`.

    In the original layout of a legacy family the vendor's Python files go along, unread: the vendor's ecosystem finds
    its classes by them.
    """
    if layout == "native":
        save_native(model, folder)
        return
    model.save_pretrained(folder)
    if isinstance(model, LegacyModel):
        for file in Path(local_folder(source)).glob("*.py"):
            shutil.copyfile(file, folder / file.name)


def save_native(model: Any, folder: str | Path) -> None:
    """Writes config, generation settings and weights of `model`, a LegacyModel, to `folder` as Llama, Qwen2 or GLM.

    What is written computes the same, Qwen-1 up to its trained length, which becomes the context. Raises ModelError for
    ALiBi, which none of them has, for quantized weights, and for a model that is not of a legacy family.
    """
    import torch

    if not isinstance(model, LegacyModel):
        raise ModelError(f"{type(model).__name__} has one layout only: got layout native; save it as it is")
    if getattr(model, "is_quantized", False):
        raise ModelError("quantized weights have no native layout: got a quantized model; load it unquantized")
    config = model.native.config_class(**model.native_settings(), dtype=model.config.dtype)
    with torch.device("meta"):
        plain = model.native(config)
    plain.load_state_dict(model.native_state_dict(), assign=True)
    plain.generation_config = model.generation_config
    plain.save_pretrained(folder)


def save_native_tokenizer(tokenizer: Any, folder: str | Path) -> None:
    """Writes a legacy `tokenizer` to `folder` so that transformers loads it by tokenizer.json alone.

    Baichuan-7B's has no exact one: that is said, and its own files stay as they are.
    """
    try:
        fast = fast_tokenizer(tokenizer) if isinstance(tokenizer, SentencePieceTokenizer) else tokenizer
    except ModelError as error:
        log.warning("%s", error)
        tokenizer.save_pretrained(folder)
        return
    fast.save_pretrained(folder)
    file = Path(folder, "tokenizer_config.json")
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings.pop("auto_map", None)
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"  # the name that transformers 4 and 5 both know
    file.write_text(json.dumps(settings, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
