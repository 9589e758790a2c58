"""ChatGLM2, ChatGLM3 and GLM-4 of Zhipu."""

from __future__ import annotations

from functools import partial

from xtune.models.spec import ModelSpec, sizes

_6B = sizes(
    "chatglm",
    hidden=4096,
    layers=28,
    heads=32,
    kv_heads=2,
    head_dim=128,
    intermediate=13696,
    vocab=65024,
    attention_bias=True,
)
_9B = {**_6B, "model_type": "glm", "num_hidden_layers": 40, "vocab_size": 151552}
_9B_0414 = {**_9B, "model_type": "glm4"}

_chatglm = partial(ModelSpec, family="chatglm", licence="ChatGLM; commercial use on registration", config=_6B)
_glm4 = partial(ModelSpec, family="glm4", template="glm4_chat", licence="GLM-4; commercial use on registration")

MODELS = {
    "chatglm2_6b": _chatglm(path="THUDM/chatglm2-6b", template="chatglm2", context=32768, chat=True),
    "chatglm3_6b": _chatglm(path="THUDM/chatglm3-6b", template="chatglm3", context=8192, chat=True),
    "chatglm3_6b_base": _chatglm(path="THUDM/chatglm3-6b-base", template="chatglm3", context=32768),
    "glm4_9b": _glm4(path="zai-org/glm-4-9b-hf", context=8192, config=_9B),
    "glm4_9b_chat": _glm4(path="zai-org/glm-4-9b-chat-hf", context=131072, config=_9B, chat=True),
    "glm4_9b_chat_0414": ModelSpec(
        path="zai-org/GLM-4-9B-0414",
        family="glm4",
        template="glm4_chat",
        context=32768,
        licence="MIT",
        chat=True,
        config=_9B_0414,
    ),
}
