"""DeepSeek Coder, MoE and V2, and the models that DeepSeek distilled from R1."""

from __future__ import annotations

from functools import partial

from xtune.models.spec import ModelSpec, sizes

_CODER_6_7B = sizes("llama", hidden=4096, layers=32, heads=32, intermediate=11008, vocab=32256)
_MOE_16B = sizes(
    "deepseek",
    hidden=2048,
    layers=28,
    heads=16,
    intermediate=10944,
    vocab=102400,
    moe_intermediate_size=1408,
    n_routed_experts=64,
    n_shared_experts=2,
    num_experts_per_tok=6,
    first_k_dense_replace=1,
)
_V2_LITE = {
    **_MOE_16B,
    "model_type": "deepseek_v2",
    "num_hidden_layers": 27,
    "q_lora_rank": None,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
}
_V2 = {
    **_V2_LITE,
    "hidden_size": 5120,
    "num_hidden_layers": 60,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "intermediate_size": 12288,
    "moe_intermediate_size": 1536,
    "n_routed_experts": 160,
    "q_lora_rank": 1536,
}
_QWEN_1_5B = sizes("qwen2", hidden=1536, layers=28, heads=12, kv_heads=2, intermediate=8960, vocab=151936)
_QWEN_7B = sizes("qwen2", hidden=3584, layers=28, heads=28, kv_heads=4, intermediate=18944, vocab=152064)
_QWEN_14B = sizes("qwen2", hidden=5120, layers=48, heads=40, kv_heads=8, intermediate=13824, vocab=152064)
_QWEN_32B = sizes("qwen2", hidden=5120, layers=64, heads=40, kv_heads=8, intermediate=27648, vocab=152064)
_LLAMA_8B = sizes("llama", hidden=4096, layers=32, heads=32, kv_heads=8, intermediate=14336, vocab=128256)
_LLAMA_70B = sizes("llama", hidden=8192, layers=80, heads=64, kv_heads=8, intermediate=28672, vocab=128256)

LICENCE = "DeepSeek; commercial use allowed"
_coder = partial(ModelSpec, family="deepseek", context=16384, licence=LICENCE, config=_CODER_6_7B)
_moe = partial(ModelSpec, family="deepseek", template="deepseek_moe", context=4096, licence=LICENCE, config=_MOE_16B)
_v2 = partial(ModelSpec, family="deepseek", template="deepseek_v2", context=163840, licence=LICENCE)
_r1 = partial(ModelSpec, family="deepseek_r1", template="deepseek_r1", context=131072, licence="MIT", chat=True)

MODELS = {
    "deepseek_coder_6_7b_base": _coder(path="deepseek-ai/deepseek-coder-6.7b-base", template="deepseek_coder"),
    "deepseek_coder_6_7b_instruct": _coder(
        path="deepseek-ai/deepseek-coder-6.7b-instruct", template="deepseek_coder", chat=True
    ),
    "deepseek_moe_16b_base": _moe(path="deepseek-ai/deepseek-moe-16b-base"),
    "deepseek_moe_16b_chat": _moe(path="deepseek-ai/deepseek-moe-16b-chat", chat=True),
    "deepseek_v2_lite": _v2(path="deepseek-ai/DeepSeek-V2-Lite", config=_V2_LITE),
    "deepseek_v2_lite_chat": _v2(path="deepseek-ai/DeepSeek-V2-Lite-Chat", config=_V2_LITE, chat=True),
    "deepseek_v2_chat": _v2(path="deepseek-ai/DeepSeek-V2-Chat", config=_V2, chat=True),
    "deepseek_r1_distill_qwen_1_5b": _r1(path="deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", config=_QWEN_1_5B),
    "deepseek_r1_distill_qwen_7b": _r1(path="deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", config=_QWEN_7B),
    "deepseek_r1_distill_qwen_14b": _r1(path="deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", config=_QWEN_14B),
    "deepseek_r1_distill_qwen_32b": _r1(path="deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", config=_QWEN_32B),
    "deepseek_r1_distill_llama_8b": _r1(path="deepseek-ai/DeepSeek-R1-Distill-Llama-8B", config=_LLAMA_8B),
    "deepseek_r1_distill_llama_70b": _r1(path="deepseek-ai/DeepSeek-R1-Distill-Llama-70B", config=_LLAMA_70B),
}
