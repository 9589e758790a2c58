"""Baichuan 1 and 2."""

from __future__ import annotations

from functools import partial

from xtune.models.spec import ModelSpec, sizes

_7B = sizes("baichuan", hidden=4096, layers=32, heads=32, intermediate=11008, vocab=64000)
_13B = sizes("baichuan", hidden=5120, layers=40, heads=40, intermediate=13696, vocab=64000, alibi=True)
_2_7B = {**_7B, "vocab_size": 125696, "norm_head": True}
_2_13B = {**_13B, "vocab_size": 125696, "norm_head": True}

_baichuan = partial(ModelSpec, family="baichuan", context=4096, licence="Baichuan; commercial use on application")
_baichuan2 = partial(ModelSpec, family="baichuan2", context=4096, licence="Baichuan 2; commercial use on application")
_chat2 = partial(_baichuan2, template="baichuan2_chat", chat=True)

MODELS = {
    "baichuan_7b": _baichuan(path="baichuan-inc/Baichuan-7B", template="default", config=_7B),
    "baichuan_13b_base": _baichuan(path="baichuan-inc/Baichuan-13B-Base", template="default", config=_13B),
    "baichuan_13b_chat": _baichuan(
        path="baichuan-inc/Baichuan-13B-Chat", template="baichuan_chat", config=_13B, chat=True
    ),
    "baichuan2_7b_base": _baichuan2(path="baichuan-inc/Baichuan2-7B-Base", template="default", config=_2_7B),
    "baichuan2_7b_chat": _chat2(path="baichuan-inc/Baichuan2-7B-Chat", config=_2_7B),
    "baichuan2_13b_base": _baichuan2(path="baichuan-inc/Baichuan2-13B-Base", template="default", config=_2_13B),
    "baichuan2_13b_chat": _chat2(path="baichuan-inc/Baichuan2-13B-Chat", config=_2_13B),
}
