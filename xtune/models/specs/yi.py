"""Yi and Yi-1.5 of 01.AI."""

from __future__ import annotations

from functools import partial

from xtune.models.spec import ModelSpec, sizes

_6B = sizes("llama", hidden=4096, layers=32, heads=32, kv_heads=4, intermediate=11008, vocab=64000)
_9B = {**_6B, "num_hidden_layers": 48}
_34B = sizes("llama", hidden=7168, layers=60, heads=56, kv_heads=8, intermediate=20480, vocab=64000)

_base = partial(ModelSpec, family="yi", template="default", context=4096, licence="Apache-2.0")
_chat = partial(ModelSpec, family="yi", template="yi_chat", context=4096, licence="Apache-2.0", chat=True)

MODELS = {
    "yi_6b": _base(path="01-ai/Yi-6B", config=_6B),
    "yi_6b_chat": _chat(path="01-ai/Yi-6B-Chat", config=_6B),
    "yi_34b": _base(path="01-ai/Yi-34B", config=_34B),
    "yi_34b_chat": _chat(path="01-ai/Yi-34B-Chat", config=_34B),
    "yi_1_5_6b": _base(path="01-ai/Yi-1.5-6B", config=_6B),
    "yi_1_5_6b_chat": _chat(path="01-ai/Yi-1.5-6B-Chat", config=_6B),
    "yi_1_5_9b": _base(path="01-ai/Yi-1.5-9B", config=_9B),
    "yi_1_5_9b_chat": _chat(path="01-ai/Yi-1.5-9B-Chat", config=_9B),
    "yi_1_5_34b": _base(path="01-ai/Yi-1.5-34B", config=_34B),
    "yi_1_5_34b_chat": _chat(path="01-ai/Yi-1.5-34B-Chat", config=_34B),
}
