"""Llama 1, 2, 3, 3.1, 3.2 and 3.3 of Meta, and models tuned or trained from them by others."""

from __future__ import annotations

from functools import partial

from xtune.models.spec import ModelSpec, sizes

_7B = sizes("llama", hidden=4096, layers=32, heads=32, intermediate=11008, vocab=32000)
_13B = sizes("llama", hidden=5120, layers=40, heads=40, intermediate=13824, vocab=32000)
_70B = sizes("llama", hidden=8192, layers=80, heads=64, kv_heads=8, intermediate=28672, vocab=32000)
_CODE_7B = {**_7B, "vocab_size": 32016}
_3_8B = sizes("llama", hidden=4096, layers=32, heads=32, kv_heads=8, intermediate=14336, vocab=128256)
_3_70B = {**_70B, "vocab_size": 128256}
_3_2_1B = sizes("llama", hidden=2048, layers=16, heads=32, kv_heads=8, intermediate=8192, vocab=128256, tied=True)
_3_2_3B = sizes("llama", hidden=3072, layers=28, heads=24, kv_heads=8, intermediate=8192, vocab=128256, tied=True)
_TINY = sizes("llama", hidden=2048, layers=22, heads=32, kv_heads=4, intermediate=5632, vocab=32000)

_llama2 = partial(ModelSpec, family="llama2", template="llama2_chat", context=4096, licence="Llama 2 Community")
_llama3 = partial(ModelSpec, family="llama3", template="llama3_chat", context=8192, licence="Llama 3 Community")
_llama3_1 = partial(
    ModelSpec, family="llama3_1", template="llama3_1_chat", context=131072, licence="Llama 3.1 Community"
)
_llama3_2 = partial(
    ModelSpec, family="llama3_2", template="llama3_2_chat", context=131072, licence="Llama 3.2 Community"
)
_tinyllama = partial(ModelSpec, family="tinyllama", context=2048, licence="Apache-2.0", config=_TINY)

MODELS = {
    "llama_7b": ModelSpec(
        path="huggyllama/llama-7b",
        family="llama",
        template="default",
        context=2048,
        licence="LLaMA; not for commercial use",
        config=_7B,
    ),
    "llama2_7b": _llama2(path="meta-llama/Llama-2-7b-hf", config=_7B),
    "llama2_7b_chat": _llama2(path="meta-llama/Llama-2-7b-chat-hf", config=_7B, chat=True),
    "llama2_13b": _llama2(path="meta-llama/Llama-2-13b-hf", config=_13B),
    "llama2_13b_chat": _llama2(path="meta-llama/Llama-2-13b-chat-hf", config=_13B, chat=True),
    "llama2_70b": _llama2(path="meta-llama/Llama-2-70b-hf", config=_70B),
    "llama2_70b_chat": _llama2(path="meta-llama/Llama-2-70b-chat-hf", config=_70B, chat=True),
    "code_llama_7b_instruct": ModelSpec(
        path="codellama/CodeLlama-7b-Instruct-hf",
        family="llama2",
        template="code_llama_chat",
        context=16384,
        licence="Llama 2 Community",
        chat=True,
        config=_CODE_7B,
    ),
    "vicuna_7b": ModelSpec(
        path="lmsys/vicuna-7b-v1.5",
        family="llama2",
        template="vicuna",
        context=4096,
        licence="Llama 2 Community",
        chat=True,
        config=_7B,
    ),
    "llama3_8b": _llama3(path="meta-llama/Meta-Llama-3-8B", config=_3_8B),
    "llama3_8b_instruct": _llama3(path="meta-llama/Meta-Llama-3-8B-Instruct", config=_3_8B, chat=True),
    "llama3_70b": _llama3(path="meta-llama/Meta-Llama-3-70B", config=_3_70B),
    "llama3_70b_instruct": _llama3(path="meta-llama/Meta-Llama-3-70B-Instruct", config=_3_70B, chat=True),
    "llama3_1_8b": _llama3_1(path="meta-llama/Llama-3.1-8B", config=_3_8B),
    "llama3_1_8b_instruct": _llama3_1(path="meta-llama/Llama-3.1-8B-Instruct", config=_3_8B, chat=True),
    "llama3_1_70b": _llama3_1(path="meta-llama/Llama-3.1-70B", config=_3_70B),
    "llama3_1_70b_instruct": _llama3_1(path="meta-llama/Llama-3.1-70B-Instruct", config=_3_70B, chat=True),
    "llama3_2_1b": _llama3_2(path="meta-llama/Llama-3.2-1B", config=_3_2_1B),
    "llama3_2_1b_instruct": _llama3_2(path="meta-llama/Llama-3.2-1B-Instruct", config=_3_2_1B, chat=True),
    "llama3_2_3b": _llama3_2(path="meta-llama/Llama-3.2-3B", config=_3_2_3B),
    "llama3_2_3b_instruct": _llama3_2(path="meta-llama/Llama-3.2-3B-Instruct", config=_3_2_3B, chat=True),
    "tinyllama_1_1b": _tinyllama(path="TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T", template="tinyllama_chat"),
    "tinyllama_1_1b_chat": _tinyllama(path="TinyLlama/TinyLlama-1.1B-Chat-v1.0", template="tinyllama_chat", chat=True),
}
