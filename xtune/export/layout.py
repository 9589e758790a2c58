"""convert layout: checkpoints of the legacy families as the vendor had them, or as transformers' own classes do.

The original layout is what the vendor's ecosystem reads; the native one (Llama, Qwen2, GLM) servers load without code.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xtune.compat.transformers import stored_tensors
from xtune.errors import ModelError
from xtune.export.chat_files import finish_chat_files, save_chat_files
from xtune.export.config_file import raw_config, save_config, write_config
from xtune.export.folder import whole_folder
from xtune.export.generation_file import accepted
from xtune.export.source import carry, carry_documents, source_folder
from xtune.export.weights import StoredWeights, without_copies, write_weights
from xtune.models.legacy.family import LegacyModel
from xtune.models.legacy.fast import fast_tokenizer
from xtune.models.legacy.sentencepiece import SentencePieceTokenizer
from xtune.models.load import load_model, load_tokenizer
from xtune.templates.store import load_template

if TYPE_CHECKING:
    from xtune.templates.template import ChatTemplate

log = logging.getLogger(__name__)

Layout = Literal["original", "native"]


def convert_layout(model: str, out: str | Path, layout: Layout, *, force: bool = False) -> None:
    """Writes the legacy `model` with its tokenizer to `out` in `layout`, in the dtype it is stored in."""
    with whole_folder(out, force=force) as folder:
        source = source_folder(model)
        loaded = load_model(model, dtype=StoredWeights(source).usual_dtype(), device="cpu")
        tokenizer = load_tokenizer(source)
        save_layout(loaded, source, layout, folder, tokenizer=(tokenizer, source), template=load_template(source))


def save_layout(
    model: Any,
    source: Path,
    layout: Layout,
    folder: Path,
    *,
    tokenizer: tuple[Any, Path],
    template: ChatTemplate | None,
    dtype: str | None = None,
    added: int = 0,
) -> None:
    """Writes `model`, which was loaded from the folder `source`, and all that goes with it to `folder`.

    In the original layout what was not changed is as it was: files, settings, and the dtype of each tensor, unless
    `dtype` names the one to write. `tokenizer` is one and the folder of its files; `added` see write_weights.
    """
    if layout == "native":
        carry_documents(source, folder)
        save_native(model, folder)
        write_config(folder, raw_config(folder))
        save_native_tokenizer(tokenizer[0], folder)
        finish_chat_files(template, tokenizer[0], folder)
        return
    carry(source, folder, tokenizer=tokenizer[1] == source)
    stored = StoredWeights(source)
    tensors = without_copies(stored_tensors(model), stored)
    write_weights(tensors, stored, folder, as_stored=dtype is None, added=added)
    save_config(model.config, source, folder, dtype)
    save_chat_files(template, *tokenizer, folder)


def save_native(model: Any, folder: str | Path) -> None:
    """Writes config, generation settings and weights of `model`, a LegacyModel, to `folder` as Llama, Qwen2 or GLM.

    What is written computes the same, Qwen-1 up to its trained length, which becomes the context. Raises ModelError for
    ALiBi, which none of them has, for quantized weights, and for a model that is not of a legacy family.
    """
    import torch
    from transformers import GenerationConfig

    if not isinstance(model, LegacyModel):
        raise ModelError(f"{type(model).__name__} has one layout only: got layout native", "save it as it is")
    if getattr(model, "is_quantized", False):
        raise ModelError("quantized weights have no native layout: got a quantized model", "load it unquantized")
    config = model.native.config_class(**model.native_settings(), dtype=model.config.dtype)
    with torch.device("meta"):
        plain = model.native(config)
    plain.load_state_dict(model.native_state_dict(), assign=True)
    plain.generation_config = GenerationConfig.from_dict(accepted(model.generation_config.to_dict()))
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
