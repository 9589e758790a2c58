"""Qwen 1, 1.5, 2, 2.5 and 3 of Alibaba."""

from __future__ import annotations

from functools import partial
from typing import Any

from xtune.models.spec import ModelSpec, sizes

_1_1_8B = sizes("qwen", hidden=2048, layers=24, heads=16, intermediate=5504, vocab=151936)
_1_7B = sizes("qwen", hidden=4096, layers=32, heads=32, intermediate=11008, vocab=151936)
_1_72B = sizes("qwen", hidden=8192, layers=80, heads=64, intermediate=24576, vocab=152064)

_1_5_0_5B = sizes("qwen2", hidden=1024, layers=24, heads=16, intermediate=2816, vocab=151936, tied=True)
_1_5_1_8B = {**_1_1_8B, "model_type": "qwen2"}
_1_5_4B = sizes("qwen2", hidden=2560, layers=40, heads=20, intermediate=6912, vocab=151936)
_1_5_7B = {**_1_7B, "model_type": "qwen2"}
_1_5_14B = sizes("qwen2", hidden=5120, layers=40, heads=40, intermediate=13696, vocab=152064)
_1_5_32B = sizes("qwen2", hidden=5120, layers=64, heads=40, kv_heads=8, intermediate=27392, vocab=152064)
_1_5_72B = {**_1_72B, "model_type": "qwen2"}
_1_5_110B = sizes("qwen2", hidden=8192, layers=80, heads=64, kv_heads=8, intermediate=49152, vocab=152064)
_1_5_MOE = sizes(
    "qwen2_moe",
    hidden=2048,
    layers=24,
    heads=16,
    intermediate=5632,
    vocab=151936,
    moe_intermediate_size=1408,
    shared_expert_intermediate_size=5632,
    num_experts=60,
    num_experts_per_tok=4,
)

_2_0_5B = sizes("qwen2", hidden=896, layers=24, heads=14, kv_heads=2, intermediate=4864, vocab=151936, tied=True)
_2_1_5B = sizes("qwen2", hidden=1536, layers=28, heads=12, kv_heads=2, intermediate=8960, vocab=151936, tied=True)
_2_7B = sizes("qwen2", hidden=3584, layers=28, heads=28, kv_heads=4, intermediate=18944, vocab=152064)
_2_72B = sizes("qwen2", hidden=8192, layers=80, heads=64, kv_heads=8, intermediate=29568, vocab=152064)
_2_5_3B = sizes("qwen2", hidden=2048, layers=36, heads=16, kv_heads=2, intermediate=11008, vocab=151936, tied=True)
_2_5_14B = sizes("qwen2", hidden=5120, layers=48, heads=40, kv_heads=8, intermediate=13824, vocab=152064)
_2_5_32B = sizes("qwen2", hidden=5120, layers=64, heads=40, kv_heads=8, intermediate=27648, vocab=152064)

_qwen3_sizes = partial(sizes, "qwen3", kv_heads=8, head_dim=128, vocab=151936)
_3_0_6B = _qwen3_sizes(hidden=1024, layers=28, heads=16, intermediate=3072, tied=True)
_3_1_7B = _qwen3_sizes(hidden=2048, layers=28, heads=16, intermediate=6144, tied=True)
_3_4B = _qwen3_sizes(hidden=2560, layers=36, heads=32, intermediate=9728, tied=True)
_3_8B = _qwen3_sizes(hidden=4096, layers=36, heads=32, intermediate=12288)
_3_14B = _qwen3_sizes(hidden=5120, layers=40, heads=40, intermediate=17408)
_3_32B = _qwen3_sizes(hidden=5120, layers=64, heads=64, intermediate=25600)
_3_30B_A3B = sizes(
    "qwen3_moe",
    hidden=2048,
    layers=48,
    heads=32,
    kv_heads=4,
    head_dim=128,
    intermediate=6144,
    vocab=151936,
    moe_intermediate_size=768,
    num_experts=128,
    num_experts_per_tok=8,
)

TONGYI = "Tongyi Qianwen; commercial use on application"
RESEARCH = "Qwen Research; not for commercial use"
_qwen = partial(ModelSpec, family="qwen", licence=TONGYI)
_qwen1_5 = partial(ModelSpec, family="qwen1_5", context=32768, licence=TONGYI)
_qwen2 = partial(ModelSpec, family="qwen2", template="qwen2_chat")
_qwen2_5 = partial(ModelSpec, family="qwen2_5", template="qwen2_5_chat")
_qwen3 = partial(ModelSpec, family="qwen3", template="qwen3_chat", licence="Apache-2.0")


def _pair(
    name: str, spec: partial[ModelSpec], path: str, config: dict[str, Any], *, context: int = 32768, **others: Any
) -> dict[str, ModelSpec]:
    """A base model and the one tuned from it, which has a context of 32768 tokens."""
    return {
        name: spec(path=path, config=config, context=context, **others),
        f"{name}_instruct": spec(path=f"{path}-Instruct", config=config, context=32768, chat=True, **others),
    }


def _pair1_5(size: str, config: dict[str, Any]) -> dict[str, ModelSpec]:
    name, path = f"qwen1_5_{size.lower().replace('.', '_')}", f"Qwen/Qwen1.5-{size}"
    return {
        name: _qwen1_5(path=path, template="default", config=config),
        f"{name}_chat": _qwen1_5(path=f"{path}-Chat", template="qwen1_5_chat", config=config, chat=True),
    }


def _pair3(size: str, config: dict[str, Any]) -> dict[str, ModelSpec]:
    name, path = f"qwen3_{size.lower().replace('.', '_').replace('-', '_')}", f"Qwen/Qwen3-{size}"
    return {
        f"{name}_base": _qwen3(path=f"{path}-Base", context=32768, config=config),
        name: _qwen3(path=path, context=40960, config=config, chat=True),
    }


MODELS = {
    "qwen_1_8b": _qwen(path="Qwen/Qwen-1_8B", template="default", context=8192, config=_1_1_8B),
    "qwen_1_8b_chat": _qwen(path="Qwen/Qwen-1_8B-Chat", template="qwen_chat", context=8192, config=_1_1_8B, chat=True),
    "qwen_7b": _qwen(path="Qwen/Qwen-7B", template="default", context=8192, config=_1_7B),
    "qwen_7b_chat": _qwen(path="Qwen/Qwen-7B-Chat", template="qwen_chat", context=8192, config=_1_7B, chat=True),
    "qwen_72b": _qwen(path="Qwen/Qwen-72B", template="default", context=32768, config=_1_72B),
    **_pair1_5("0.5B", _1_5_0_5B),
    **_pair1_5("1.8B", _1_5_1_8B),
    **_pair1_5("4B", _1_5_4B),
    **_pair1_5("7B", _1_5_7B),
    **_pair1_5("14B", _1_5_14B),
    **_pair1_5("32B", _1_5_32B),
    **_pair1_5("72B", _1_5_72B),
    **_pair1_5("110B", _1_5_110B),
    "qwen1_5_moe_a2_7_b_chat": ModelSpec(
        path="Qwen/Qwen1.5-MoE-A2.7B-Chat",
        family="qwen1_5",
        template="qwen1_5_chat",
        context=8192,
        licence=TONGYI,
        chat=True,
        config=_1_5_MOE,
    ),
    **_pair("qwen2_0_5b", _qwen2, "Qwen/Qwen2-0.5B", _2_0_5B, context=131072, licence="Apache-2.0"),
    **_pair("qwen2_1_5b", _qwen2, "Qwen/Qwen2-1.5B", _2_1_5B, context=131072, licence="Apache-2.0"),
    **_pair("qwen2_7b", _qwen2, "Qwen/Qwen2-7B", _2_7B, context=131072, licence="Apache-2.0"),
    **_pair("qwen2_72b", _qwen2, "Qwen/Qwen2-72B", _2_72B, context=131072, licence=TONGYI),
    **_pair("qwen2_5_0_5b", _qwen2_5, "Qwen/Qwen2.5-0.5B", _2_0_5B, licence="Apache-2.0"),
    **_pair("qwen2_5_1_5b", _qwen2_5, "Qwen/Qwen2.5-1.5B", _2_1_5B, context=131072, licence="Apache-2.0"),
    **_pair("qwen2_5_3b", _qwen2_5, "Qwen/Qwen2.5-3B", _2_5_3B, licence=RESEARCH),
    **_pair("qwen2_5_7b", _qwen2_5, "Qwen/Qwen2.5-7B", _2_7B, context=131072, licence="Apache-2.0"),
    **_pair("qwen2_5_14b", _qwen2_5, "Qwen/Qwen2.5-14B", _2_5_14B, context=131072, licence="Apache-2.0"),
    **_pair("qwen2_5_32b", _qwen2_5, "Qwen/Qwen2.5-32B", _2_5_32B, context=131072, licence="Apache-2.0"),
    **_pair("qwen2_5_72b", _qwen2_5, "Qwen/Qwen2.5-72B", _2_72B, context=131072, licence=TONGYI),
    **_pair3("0.6B", _3_0_6B),
    **_pair3("1.7B", _3_1_7B),
    **_pair3("4B", _3_4B),
    "qwen3_4b_instruct_2507": ModelSpec(
        path="Qwen/Qwen3-4B-Instruct-2507",
        family="qwen3",
        template="qwen3_instruct_chat",
        context=262144,
        licence="Apache-2.0",
        chat=True,
        config=_3_4B,
    ),
    **_pair3("8B", _3_8B),
    **_pair3("14B", _3_14B),
    "qwen3_32b": _qwen3(path="Qwen/Qwen3-32B", context=40960, config=_3_32B, chat=True),
    **_pair3("30B-A3B", _3_30B_A3B),
}
