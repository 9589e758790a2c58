"""InternLM, InternLM2, Qwen-1, ChatGLM2/3 and Baichuan as native classes: the vendors' layouts, none of their code.

Their repositories carry Python files that current transformers cannot run, or runs to wrong numbers. A checkpoint is
known by what its config says; see docs/legacy_models.md for what was verified and how.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENIZERS = {
    "InternLMTokenizer": "xtune.models.legacy.sentencepiece",
    "InternLM2Tokenizer": "xtune.models.legacy.sentencepiece",
    "BaiChuanTokenizer": "xtune.models.legacy.sentencepiece",
    "BaichuanTokenizer": "xtune.models.legacy.sentencepiece",
    "ChatGLMTokenizer": "xtune.models.legacy.sentencepiece",
    "QWenTokenizer": "xtune.models.legacy.tiktoken",
}
"""The vendors' tokenizer classes, as their tokenizer_config.json names them, and where ours of that name are."""


def legacy_tokenizer_class(folder: str) -> type[PreTrainedTokenizerBase] | None:
    """The class for the tokenizer in a folder or hub repository; None where it is not one of these families."""
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    settings: dict[str, Any] = get_tokenizer_config(folder)
    name = settings.get("tokenizer_class") or ""
    name = name.removesuffix("Fast")
    return getattr(import_module(TOKENIZERS[name]), name) if name in TOKENIZERS else None
