"""InternLM, Qwen-1, ChatGLM, Baichuan, MiniCPM and DeepSeek-MoE: the vendors' layouts, none of the vendors' code.

Their repositories carry Python files that current transformers cannot run, or runs to wrong numbers. A checkpoint is
known by what its config says; see docs/legacy_models.md for what was verified and how.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MODELS = {
    "internlm": ("xtune.models.legacy.internlm", "InternLMForCausalLM"),
    "internlm2": ("xtune.models.legacy.internlm", "InternLM2ForCausalLM"),
    "qwen": ("xtune.models.legacy.qwen", "QWenLMHeadModel"),
    "chatglm": ("xtune.models.legacy.chatglm", "ChatGLMForConditionalGeneration"),
    "baichuan": ("xtune.models.legacy.baichuan", "BaichuanForCausalLM"),
    "minicpm": ("xtune.models.legacy.minicpm", "MiniCPMForCausalLM"),
    "deepseek": ("xtune.models.legacy.deepseek", "DeepseekForCausalLM"),
}
"""model_type in config.json -> our class and where it is."""

ARCHITECTURES = {"ChatGLMModel": "chatglm", "ChatGLMForConditionalGeneration": "chatglm"}
"""The first ChatGLM2 has no model_type in its config.json."""

TOKENIZERS = {
    "InternLMTokenizer": "xtune.models.legacy.sentencepiece",
    "InternLM2Tokenizer": "xtune.models.legacy.sentencepiece",
    "BaiChuanTokenizer": "xtune.models.legacy.sentencepiece",
    "BaichuanTokenizer": "xtune.models.legacy.sentencepiece",
    "ChatGLMTokenizer": "xtune.models.legacy.sentencepiece",
    "QWenTokenizer": "xtune.models.legacy.tiktoken",
    "ChatGLM4Tokenizer": "xtune.models.legacy.tiktoken",
}
"""The vendors' tokenizer classes, as their tokenizer_config.json names them, and where ours of that name are."""


def legacy_model_class(config: Mapping[str, Any]) -> type[PreTrainedModel] | None:
    """The class for a checkpoint with this config.json; None where it is not of these families.

    Makes the class's weight map known to transformers, which looks it up by model_type.
    """
    from transformers.conversion_mapping import register_checkpoint_conversion_mapping

    kind = config.get("model_type") or ARCHITECTURES.get(next(iter(config.get("architectures") or []), ""))
    if kind not in MODELS:
        return None
    module, name = MODELS[kind]
    found = getattr(import_module(module), name)
    register_checkpoint_conversion_mapping(kind, found.weight_map, overwrite=True)
    return found


def legacy_tokenizer_class(folder: str) -> type[PreTrainedTokenizerBase] | None:
    """The class for the tokenizer in a folder or hub repository; None where it is not one of these families."""
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    name = (get_tokenizer_config(folder).get("tokenizer_class") or "").removesuffix("Fast")
    return getattr(import_module(TOKENIZERS[name]), name) if name in TOKENIZERS else None
