"""A tokenizer for a rehearsal: the model's own where it is on this machine, else one made from a few texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from xtune.paths import packaged
from xtune.templates.template import BOS, EOS, ChatTemplate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VOCABULARY = 1024
FILES = ("tokenizer*", "*.tiktoken", "vocab*")


def tokenizer_at_hand(path: str) -> str | None:
    """Where the tokenizer of the model at `path` is on this machine: beside it, or in the hub's cache; else None."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    if Path(packaged(path)).exists():
        return path
    try:
        folder = snapshot_download(path, allow_patterns=list(FILES), local_files_only=True)
    except (HFValidationError, LocalEntryNotFoundError):
        return None
    return folder if any(next(Path(folder).glob(pattern), None) for pattern in FILES) else None


def make_tokenizer(template: ChatTemplate, texts: Iterable[str]) -> PreTrainedTokenizerBase:
    """A byte-level BPE (arXiv:1508.07909) trained on `texts`, with every control token that `template` writes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    spelled = (*template.control, *template.markup, *template.stop)
    control = [name for name in dict.fromkeys(("<unk>", "<s>", "</s>", "<pad>", *spelled)) if name not in (BOS, EOS)]
    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=control,
        show_progress=False,
    )
    engine.train_from_iterator([*texts, *template_texts(template)], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=engine, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def template_texts(template: ChatTemplate) -> list[str]:
    """What a template itself writes."""
    return [value for value in asdict(template).values() if isinstance(value, str)]
