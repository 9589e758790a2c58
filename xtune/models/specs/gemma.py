"""Gemma 1, 2 and 3 of Google; of Gemma 3 the models that read text only."""

from __future__ import annotations

from functools import partial
from typing import Any

from xtune.models.spec import ModelSpec, sizes

_gemma_sizes = partial(sizes, tied=True, vocab=256000)
_2B = _gemma_sizes("gemma", hidden=2048, layers=18, heads=8, kv_heads=1, head_dim=256, intermediate=16384)
_7B = _gemma_sizes("gemma", hidden=3072, layers=28, heads=16, head_dim=256, intermediate=24576)
_2_2B = _gemma_sizes("gemma2", hidden=2304, layers=26, heads=8, kv_heads=4, head_dim=256, intermediate=9216)
_2_9B = _gemma_sizes("gemma2", hidden=3584, layers=42, heads=16, kv_heads=8, head_dim=256, intermediate=14336)
_2_27B = _gemma_sizes("gemma2", hidden=4608, layers=46, heads=32, kv_heads=16, head_dim=128, intermediate=36864)
_gemma3_sizes = partial(sizes, "gemma3_text", heads=4, kv_heads=1, head_dim=256, vocab=262144, tied=True)
_3_270M = _gemma3_sizes(hidden=640, layers=18, intermediate=2048)
_3_1B = _gemma3_sizes(hidden=1152, layers=26, intermediate=6912)

LICENCE = "Gemma Terms of Use"
_gemma = partial(ModelSpec, family="gemma", context=8192, licence=LICENCE)


def _pair(family: str, size: str, base: str, tuned: str, context: int, config: dict[str, Any]) -> dict[str, ModelSpec]:
    """A base model and the one tuned from it; the base knows the turns' tokens too."""
    spec = partial(ModelSpec, family=family, template=family, context=context, licence=LICENCE, config=config)
    return {f"{family}_{size}": spec(path=base), f"{family}_{size}_it": spec(path=tuned, chat=True)}


MODELS = {
    "gemma_2b": _gemma(path="google/gemma-2b", template="default", config=_2B),
    "gemma_2b_it": _gemma(path="google/gemma-2b-it", template="gemma", config=_2B, chat=True),
    "gemma_7b": _gemma(path="google/gemma-7b", template="default", config=_7B),
    "gemma_7b_it": _gemma(path="google/gemma-7b-it", template="gemma", config=_7B, chat=True),
    **_pair("gemma2", "2b", "google/gemma-2-2b", "google/gemma-2-2b-it", 8192, _2_2B),
    **_pair("gemma2", "9b", "google/gemma-2-9b", "google/gemma-2-9b-it", 8192, _2_9B),
    **_pair("gemma2", "27b", "google/gemma-2-27b", "google/gemma-2-27b-it", 8192, _2_27B),
    **_pair("gemma3", "270m", "google/gemma-3-270m", "google/gemma-3-270m-it", 32768, _3_270M),
    **_pair("gemma3", "1b", "google/gemma-3-1b-pt", "google/gemma-3-1b-it", 32768, _3_1B),
}
