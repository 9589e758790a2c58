"""Settings that cannot stand together are told in one line, before anything is loaded."""

import pytest

import xtune
from xtune.errors import ConfigError
from xtune.registries import components
from xtune.resolve import resolve

QLORA = "internlm_7b_qlora_oasst1_e3"
FULL = "internlm2_7b_full_alpaca_e3"

MATRIX = [
    (QLORA, ["max_length=32768"], r"max_length is beyond the context of internlm_7b: got `32768`, it takes 2048; set"),
    (QLORA, ["model.dtype=float16"], r"model\.dtype=float16 cannot be trained: .*use bfloat16 or float32"),
    (
        QLORA,
        ["model.attention=flash_attention_2", "model.dtype=float32"],
        r"flash attention takes 16 bits: got model\.dtype=float32; set it to bfloat16",
    ),
    (
        "baichuan2_13b_base_qlora_alpaca_e3",
        ["model.attention=flash_attention_2"],
        r"flash attention does not support the ALiBi of baichuan2_13b_base; set model\.attention=sdpa",
    ),
    (
        QLORA,
        ["tuning.targets=[wqkv]"],
        r"tuning\.targets names no layer of internlm_7b: got `wqkv`; it has q_proj, k_proj",
    ),
    (FULL, ["optimizer.lora_plus_ratio=16"], r"optimizer\.lora_plus_ratio needs LoRA: got tuning\.name=full; leave it"),
    (
        QLORA,
        ["tuning.init=pissa"],
        r"tuning\.init=pissa takes the adapters out of the base weights, which qlora holds quantized; set tuning\.init",
    ),
    (
        FULL,
        ["optimizer.name=adafactor", "distributed=fsdp"],
        r"adafactor needs the rows and columns of whole weights.*got distributed=fsdp; use distributed=ddp",
    ),
    (
        FULL,
        ["optimizer.name=adafactor", "distributed=deepspeed_zero2"],
        r"adafactor needs .*got distributed=deepspeed_zero2",
    ),
    (QLORA, ["schedule.min_lr=1e-2"], r"schedule\.min_lr is above optimizer\.lr: got 0\.01 and 0\.0002; lower min_lr"),
    (
        QLORA,
        ["checkpoint.best=True"],
        r"checkpoint\.best needs held-out rows: got evaluation\.holdout=0; set it to 0\.05",
    ),
    (QLORA, ["evaluation.patience=2"], r"evaluation\.patience needs held-out rows: got evaluation\.holdout=0"),
    (FULL, ["tuning.bits=4"], r"tuning full: unknown key: got `bits`; there are none here"),
    (QLORA, ["tuning.name=full"], r"tuning\.name=full has no such options: got bits, .*rank.*, which are another"),
    (QLORA, ["tuning.bits=8"], r"tuning qlora: bits should be 4: got `8`"),
    (QLORA, ["tuning.rank=0"], r"tuning qlora: rank should be greater than 0: got `0`"),
    (QLORA, ["train.batch_size=0"], r"train\.batch_size should be greater than 0: got `0`"),
]


@pytest.mark.parametrize(("name", "changes", "message"), MATRIX, ids=[" ".join(changes) for _, changes, _ in MATRIX])
def test_a_contradiction_is_one_line_that_says_what_to_change(name, changes, message):
    with pytest.raises(ConfigError, match=message) as caught:
        resolve(xtune.load_config(name, changes), components([]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        (QLORA, ["max_length=32768", "model.path=./longer"]),  # the user's own weights may have a longer context
        (QLORA, ["tuning.targets=[model.layers.0.self_attn.q_proj]"]),
        (FULL, ["optimizer.name=adafactor", "distributed=ddp"]),
        (QLORA, ["optimizer.lora_plus_ratio=16"]),
        (QLORA, ["distributed=deepspeed_zero3"]),
        (QLORA, ["checkpoint.best=True", "evaluation.holdout=0.05"]),
    ],
)
def test_what_only_looks_like_one_is_taken(name, changes):
    assert resolve(xtune.load_config(name, changes), components([])).config.model.name


def test_no_config_of_the_catalogue_contradicts_itself():
    found = components([])
    for name in xtune.list_configs()[::61]:
        resolve(xtune.load_config(name), found)
