"""Phi-3, Phi-3.5 and Phi-4 of Microsoft."""

from __future__ import annotations

from functools import partial

from xtune.models.spec import ModelSpec, sizes

_MINI = sizes("phi3", hidden=3072, layers=32, heads=32, intermediate=8192, vocab=32064)
_MEDIUM = sizes("phi3", hidden=5120, layers=40, heads=40, kv_heads=10, intermediate=17920, vocab=32064)
_4 = {**_MEDIUM, "vocab_size": 100352}

_phi3 = partial(ModelSpec, family="phi3", template="phi3_chat", licence="MIT", chat=True)

MODELS = {
    "phi3_mini_4k_instruct": _phi3(path="microsoft/Phi-3-mini-4k-instruct", context=4096, config=_MINI),
    "phi3_mini_128k_instruct": _phi3(path="microsoft/Phi-3-mini-128k-instruct", context=131072, config=_MINI),
    "phi3_medium_4k_instruct": _phi3(path="microsoft/Phi-3-medium-4k-instruct", context=4096, config=_MEDIUM),
    "phi3_5_mini_instruct": _phi3(path="microsoft/Phi-3.5-mini-instruct", context=131072, config=_MINI),
    "phi4": ModelSpec(
        path="microsoft/phi-4",
        family="phi4",
        template="phi4_chat",
        context=16384,
        licence="MIT",
        chat=True,
        config=_4,
    ),
}
