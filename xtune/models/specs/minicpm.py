"""MiniCPM and MiniCPM3 of OpenBMB."""

from __future__ import annotations

from functools import partial

from xtune.models.spec import ModelSpec, sizes

_1B = sizes("minicpm", hidden=1536, layers=52, heads=24, kv_heads=8, intermediate=3840, vocab=73440, tied=True)
_2B = sizes("minicpm", hidden=2304, layers=40, heads=36, intermediate=5760, vocab=122753, tied=True)
_3_4B = sizes(
    "minicpm3",
    hidden=2560,
    layers=62,
    heads=40,
    intermediate=6400,
    vocab=73448,
    tied=True,
    q_lora_rank=768,
    kv_lora_rank=256,
    qk_nope_head_dim=64,
    qk_rope_head_dim=32,
    v_head_dim=64,
)

LICENCE = "MiniCPM; commercial use on registration"
_minicpm = partial(ModelSpec, family="minicpm", template="minicpm", context=4096, licence=LICENCE, chat=True)

MODELS = {
    "minicpm_1b": _minicpm(path="openbmb/MiniCPM-1B-sft-bf16", config=_1B),
    "minicpm_2b": _minicpm(path="openbmb/MiniCPM-2B-sft-bf16", config=_2B),
    "minicpm3_4b": ModelSpec(
        path="openbmb/MiniCPM3-4B",
        family="minicpm",
        template="minicpm3",
        context=32768,
        licence=LICENCE,
        chat=True,
        config=_3_4B,
    ),
}
