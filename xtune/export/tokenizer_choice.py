"""Which tokenizer a merged model gets: the base's own files, unless the adapter brings another one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xtune.encoding.verify import ANSWERS, QUESTIONS
from xtune.errors import ModelError
from xtune.models.load import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xtune.templates.template import ChatTemplate


def trained_tokenizer(adapter: Path, base: Path, template: ChatTemplate | None) -> tuple[PreTrainedTokenizerBase, Path]:
    """The tokenizer, and the folder to copy its files from.

    An adapter's tokenizer is most often the base's, written anew by some version of transformers: then the base's files
    are those that everyone reads. Without a `template` of ours, the adapter's chat template is what was trained.
    """
    if not (adapter / "tokenizer_config.json").is_file():
        return load_tokenizer(base), base
    brought = load_tokenizer(adapter)
    try:
        own = load_tokenizer(base)
    except ModelError:
        return brought, adapter
    templates_agree = template is not None or brought.chat_template in (None, own.chat_template)
    return (own, base) if templates_agree and alike(own, brought) else (brought, adapter)


def alike(one: PreTrainedTokenizerBase, other: PreTrainedTokenizerBase) -> bool:
    """Whether two tokenizers have the same tokens, roles among them, and ids for texts."""
    roles = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id")
    return (
        one.get_vocab() == other.get_vocab()
        and all(getattr(one, role) == getattr(other, role) for role in roles)
        and set(one.all_special_ids) == set(other.all_special_ids)
        and all(one(text)["input_ids"] == other(text)["input_ids"] for text in (*QUESTIONS, *ANSWERS))
    )
