"""StarCoder and StarCoder2 of BigCode: base models for code."""

from __future__ import annotations

from functools import partial

from xtune.models.spec import ModelSpec, sizes

_15B = sizes(
    "gpt_bigcode",
    hidden=6144,
    layers=40,
    heads=48,
    kv_heads=1,
    intermediate=24576,
    vocab=49152,
    tied=True,
    n_inner=24576,
    max_position_embeddings=8192,
)
_2_3B = sizes("starcoder2", hidden=3072, layers=30, heads=24, kv_heads=2, intermediate=12288, vocab=49152, tied=True)
_2_7B = sizes("starcoder2", hidden=4608, layers=32, heads=36, kv_heads=4, intermediate=18432, vocab=49152, tied=True)
_2_15B = sizes("starcoder2", hidden=6144, layers=40, heads=48, kv_heads=4, intermediate=24576, vocab=49152)

_starcoder = partial(ModelSpec, family="starcoder", template="default", licence="BigCode OpenRAIL-M")

MODELS = {
    "starcoder": _starcoder(path="bigcode/starcoder", context=8192, config=_15B),
    "starcoder2_3b": _starcoder(path="bigcode/starcoder2-3b", context=16384, config=_2_3B),
    "starcoder2_7b": _starcoder(path="bigcode/starcoder2-7b", context=16384, config=_2_7B),
    "starcoder2_15b": _starcoder(path="bigcode/starcoder2-15b", context=16384, config=_2_15B),
}
