"""Checkpoints of the legacy families in the layout of transformers' own classes, which servers load without code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xtune.errors import ModelError
from xtune.models.legacy.family import LegacyModel
from xtune.models.legacy.fast import fast_tokenizer
from xtune.models.legacy.sentencepiece import SentencePieceTokenizer


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

    Raises ModelError for Baichuan-7B's, which has no exact one.
    """
    fast = fast_tokenizer(tokenizer) if isinstance(tokenizer, SentencePieceTokenizer) else tokenizer
    fast.save_pretrained(folder)
    file = Path(folder, "tokenizer_config.json")
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings.pop("auto_map", None)
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"  # the name that transformers 4 and 5 both know
    file.write_text(json.dumps(settings, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
