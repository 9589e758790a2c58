"""Which points of models x tunings x datasets are configs: XTuner's list, and a standard set for every model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from xtune.catalogue.datasets import DATASETS
from xtune.catalogue.names import Name, parse
from xtune.models.spec import ModelSpec

_D9 = (
    "alpaca_e3 alpaca_enzh_e3 alpaca_enzh_oasst1_e3 alpaca_zh_e3 code_alpaca_e3 lawyer_e3 oasst1_512_e3 oasst1_e3 "
    "open_platypus_e3"
)
_D12 = f"{_D9} arxiv_gentitle_e3 colorist_e5 sql_e3"
_D15 = f"{_D12} medical_e1 openorca_e1 tiny_codes_e1"
_MOSS = "moss_sft_all_e1 moss_sft_all_e2_gpu8 moss_sft_plugins_e1"

XTUNER = (
    (
        "baichuan_13b_chat chatglm2_6b chatglm3_6b chatglm3_6b_base internlm_chat_7b llama2_7b_chat qwen_7b_chat",
        "qlora",
        _D15,
    ),
    ("baichuan_13b_base baichuan_7b internlm_7b llama_7b llama2_7b qwen_7b", "qlora", f"{_D15} {_MOSS}"),
    ("baichuan2_13b_base baichuan2_7b_base internlm_20b", "qlora", _D12),
    ("baichuan2_13b_chat baichuan2_7b_chat internlm_chat_20b", "qlora", _D9),
    ("internlm_20b internlm_7b llama2_7b", "qlora", "msagent_react_e3_gpu8"),
    ("internlm_7b", "qlora", "oasst1_mmlu_e3 oasst1_e3_hf"),
    ("internlm_7b", "full", "alpaca_e3 alpaca_enzh_e3 alpaca_enzh_oasst1_e3 alpaca_zh_e3 oasst1_e3"),
    ("llama2_7b llama2_70b", "full", "wizardlm_e1"),
    ("llama2_70b", "int8_lora qlora", "open_platypus_e1 open_platypus_e1_hf"),
    ("yi_6b yi_34b", "qlora", "alpaca_enzh_e3"),
    ("zephyr_7b_beta", "qlora", "alpaca_e3"),
    ("mistral_7b", "qlora", "skypile_pretrain_e1"),
    ("starcoder", "qlora", "stack_exchange_example"),
)
"""Rows of models, tunings and runs: each product of the three is a config that XTuner 0.1 had, and one of 0.1.23."""

OURS = (
    ("internlm_7b", "qlora", "json_e3"),
    ("smollm2_135m_instruct", "qlora", "self_identity_demo"),
    ("smollm2_135m_instruct", "int8_lora", "alpaca_e3 oasst1_e3 medqa2019_e3 self_identity_e5"),
)
"""Further rows: XTuner's own data format, and models that run on a laptop."""

STANDARD_TUNINGS = ("qlora", "lora", "full")
STANDARD_DATASETS = (
    "alpaca",
    "oasst1",
    "openorca",
    "ultrachat_200k",
    "self_identity",
    "medqa2019",
    "custom_sft",
    "custom_pretrain",
)
"""Their product is offered for every model, but for what skip() leaves out."""

EARLIER = ("baichuan", "chatglm", "internlm", "llama", "llama2", "qwen")
"""Families that later ones replaced: XTuner's own list, and your own data, are all that they get."""

CONVERSATIONS = ("oasst1", "openorca", "ultrachat_200k")
"""Many conversations on anything: they make a chat model of a base model."""
FEW_ROWS = ("self_identity", "medqa2019")
"""Some hundred rows on one thing."""


def skip(spec: ModelSpec, tuning: str, dataset: str) -> str | None:
    """Why a point of the standard set is left out; None: it is in."""
    billions = spec.parameters / 1e9
    if spec.family in EARLIER and not dataset.startswith("custom"):
        return f"the {spec.family} family has later models"
    if tuning == "full" and 16 * billions > 8 * 80:
        return "weights, gradients and AdamW's state, 16 bytes a parameter, are more than eight GPUs of 80 GB hold"
    if tuning == "full" and dataset in FEW_ROWS and billions > 2:
        return "full tuning on a few hundred rows makes a large model forget more than it learns"
    if tuning == "lora" and 2 * billions > 24:
        return "16-bit weights alone are more than a GPU of 24 GB holds; qlora gives the same for a quarter"
    if tuning == "lora" and dataset == "custom_pretrain":
        return "new texts take more than adapters; where memory is short, qlora"
    if spec.chat and dataset in CONVERSATIONS:
        return "the vendor tuned it on more and better conversations than these"
    if spec.chat and dataset == "custom_pretrain":
        return "pre-training goes on from a base model; it would undo the tuning for chat"
    if not spec.chat and dataset in FEW_ROWS:
        return "a few hundred rows teach a chat model a fact, but not a base model to chat"
    return None


def points(models: Mapping[str, ModelSpec]) -> dict[str, Name]:
    """Every config of the catalogue by its name. The rows are in whatever skip() says."""
    found = {name.text: name for name in _rows()}
    for model, spec in models.items():
        for tuning in STANDARD_TUNINGS:
            for dataset in STANDARD_DATASETS:
                if skip(spec, tuning, dataset) is None:
                    name = Name(model, tuning, dataset, DATASETS[dataset].epochs)
                    found[name.text] = name
    return dict(sorted(found.items()))


def _rows() -> Iterator[Name]:
    for models, tunings, runs in XTUNER + OURS:
        for model in models.split():
            for tuning in tunings.split():
                for run in runs.split():
                    name = parse(f"{model}_{tuning}_{run}")
                    assert name is not None, run
                    yield name
