"""SmolLM2 and SmolLM3 of Hugging Face: small models under a free licence."""

from __future__ import annotations

from functools import partial

from xtune.models.spec import ModelSpec, sizes

_135M = sizes("llama", hidden=576, layers=30, heads=9, kv_heads=3, intermediate=1536, vocab=49152, tied=True)
_360M = sizes("llama", hidden=960, layers=32, heads=15, kv_heads=5, intermediate=2560, vocab=49152, tied=True)
_1_7B = sizes("llama", hidden=2048, layers=24, heads=32, intermediate=8192, vocab=49152, tied=True)
_3B = sizes("smollm3", hidden=2048, layers=36, heads=16, kv_heads=4, intermediate=11008, vocab=128256, tied=True)

_smollm2 = partial(ModelSpec, family="smollm", template="chatml", context=8192, licence="Apache-2.0")
_smollm3 = partial(ModelSpec, family="smollm", template="smollm3", context=65536, licence="Apache-2.0")

MODELS = {
    "smollm2_135m": _smollm2(path="HuggingFaceTB/SmolLM2-135M", config=_135M),
    "smollm2_135m_instruct": _smollm2(path="HuggingFaceTB/SmolLM2-135M-Instruct", config=_135M, chat=True),
    "smollm2_360m": _smollm2(path="HuggingFaceTB/SmolLM2-360M", config=_360M),
    "smollm2_360m_instruct": _smollm2(path="HuggingFaceTB/SmolLM2-360M-Instruct", config=_360M, chat=True),
    "smollm2_1_7b": _smollm2(path="HuggingFaceTB/SmolLM2-1.7B", config=_1_7B),
    "smollm2_1_7b_instruct": _smollm2(path="HuggingFaceTB/SmolLM2-1.7B-Instruct", config=_1_7B, chat=True),
    "smollm3_3b_base": _smollm3(path="HuggingFaceTB/SmolLM3-3B-Base", config=_3B),
    "smollm3_3b": _smollm3(path="HuggingFaceTB/SmolLM3-3B", config=_3B, chat=True),
}
