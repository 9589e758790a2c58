"""Mistral and Mixtral of Mistral AI, and Zephyr, which Hugging Face tuned from Mistral."""

from __future__ import annotations

from functools import partial

from xtune.models.spec import ModelSpec, sizes

_7B = sizes("mistral", hidden=4096, layers=32, heads=32, kv_heads=8, intermediate=14336, vocab=32000)
_7B_V3 = {**_7B, "vocab_size": 32768}
_8X7B = {**_7B, "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}

_mistral = partial(ModelSpec, family="mistral", template="mistral", context=32768, licence="Apache-2.0")
_mixtral = partial(ModelSpec, family="mixtral", template="mixtral", context=32768, licence="Apache-2.0", config=_8X7B)

MODELS = {
    "mistral_7b": _mistral(path="mistralai/Mistral-7B-v0.1", config=_7B),
    "mistral_7b_instruct_v0_2": _mistral(path="mistralai/Mistral-7B-Instruct-v0.2", config=_7B, chat=True),
    "mistral_7b_v0_3": _mistral(path="mistralai/Mistral-7B-v0.3", template="mistral_v3", config=_7B_V3),
    "mistral_7b_instruct_v0_3": _mistral(
        path="mistralai/Mistral-7B-Instruct-v0.3", template="mistral_v3", config=_7B_V3, chat=True
    ),
    "mixtral_8x7b": _mixtral(path="mistralai/Mixtral-8x7B-v0.1"),
    "mixtral_8x7b_instruct": _mixtral(path="mistralai/Mixtral-8x7B-Instruct-v0.1", chat=True),
    "zephyr_7b_beta": ModelSpec(
        path="HuggingFaceH4/zephyr-7b-beta",
        family="zephyr",
        template="zephyr",
        context=32768,
        licence="MIT",
        chat=True,
        config=_7B,
    ),
}
