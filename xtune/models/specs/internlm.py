"""InternLM 1, 2, 2.5 and 3 of Shanghai AI Laboratory."""

from __future__ import annotations

from functools import partial

from xtune.models.spec import ModelSpec, sizes

_7B = sizes("internlm", hidden=4096, layers=32, heads=32, intermediate=11008, vocab=103168, attention_bias=True)
_20B = sizes("internlm", hidden=5120, layers=60, heads=40, intermediate=13824, vocab=103168, attention_bias=False)
_2_1_8B = sizes("internlm2", hidden=2048, layers=24, heads=16, kv_heads=8, intermediate=8192, vocab=92544)
_2_7B = sizes("internlm2", hidden=4096, layers=32, heads=32, kv_heads=8, intermediate=14336, vocab=92544)
_2_20B = sizes("internlm2", hidden=6144, layers=48, heads=48, kv_heads=8, intermediate=16384, vocab=92544)
_3_8B = sizes("internlm3", hidden=4096, layers=48, heads=32, kv_heads=2, head_dim=128, intermediate=10240, vocab=128512)

LICENCE = "Apache-2.0; weights: free, commercial use on application"
_internlm = partial(ModelSpec, family="internlm", context=2048, licence=LICENCE)
_internlm_20b = partial(ModelSpec, family="internlm", context=4096, licence=LICENCE, config=_20B)
_internlm2 = partial(ModelSpec, family="internlm2", context=32768, licence=LICENCE)
_base = partial(_internlm2, template="default")
_chat = partial(_internlm2, template="internlm2_chat", chat=True)

MODELS = {
    "internlm_7b": _internlm(path="internlm/internlm-7b", template="default", config=_7B),
    "internlm_chat_7b": _internlm(path="internlm/internlm-chat-7b", template="internlm_chat", config=_7B, chat=True),
    "internlm_20b": _internlm_20b(path="internlm/internlm-20b", template="default"),
    "internlm_chat_20b": _internlm_20b(path="internlm/internlm-chat-20b", template="internlm_chat", chat=True),
    "internlm2_1_8b": _base(path="internlm/internlm2-1_8b", config=_2_1_8B),
    "internlm2_chat_1_8b": _chat(path="internlm/internlm2-chat-1_8b", config=_2_1_8B),
    "internlm2_7b": _base(path="internlm/internlm2-7b", config=_2_7B),
    "internlm2_chat_7b": _chat(path="internlm/internlm2-chat-7b", config=_2_7B),
    "internlm2_20b": _base(path="internlm/internlm2-20b", config=_2_20B),
    "internlm2_chat_20b": _chat(path="internlm/internlm2-chat-20b", config=_2_20B),
    "internlm2_5_1_8b": _base(path="internlm/internlm2_5-1_8b", config=_2_1_8B),
    "internlm2_5_chat_1_8b": _chat(path="internlm/internlm2_5-1_8b-chat", config=_2_1_8B),
    "internlm2_5_7b": _base(path="internlm/internlm2_5-7b", config=_2_7B),
    "internlm2_5_chat_7b": _chat(path="internlm/internlm2_5-7b-chat", config=_2_7B),
    "internlm2_5_20b": _base(path="internlm/internlm2_5-20b", config=_2_20B),
    "internlm2_5_chat_20b": _chat(path="internlm/internlm2_5-20b-chat", config=_2_20B),
    "internlm3_8b_instruct": ModelSpec(
        path="internlm/internlm3-8b-instruct",
        family="internlm3",
        template="internlm3_chat",
        context=32768,
        licence="Apache-2.0",
        chat=True,
        config=_3_8B,
    ),
}
