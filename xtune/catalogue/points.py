"""Which names are kept and listed: XTuner's, a standard set for every model, a page a family, and all there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product

from xtune.catalogue.datasets import DATASETS
from xtune.catalogue.names import Name, parse
from xtune.catalogue.tunings import TUNINGS
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
    ("smollm2_135m_instruct", "qlora", "self_identity_demo"),
    ("smollm2_135m_instruct", "int8_lora", "alpaca_e3 oasst1_e3 medqa2019_e3 self_identity_e5"),
)
"""Further rows: models that run on a laptop."""

STANDARD_TUNINGS = ("qlora", "lora", "full")
STANDARD_DATASETS = ("alpaca", "oasst1", "openorca", "ultrachat_200k", "self_identity", "medqa2019")
"""Their product is offered for every model, but for what skip() leaves out."""

EARLIER = ("baichuan", "chatglm", "internlm", "llama", "llama2", "qwen")
"""Families that later ones replaced: XTuner's own list, and qlora on alpaca, are all that is kept of them."""

PAGE = {
    True: (("qlora", "alpaca"), ("lora", "self_identity")),
    False: (("qlora", "oasst1"), ("full", "ultrachat_200k")),
}
"""What people browse of a family: for its chat model, and for its base model."""
USUAL_SIZE = 7e9
"""Parameters of the models on that page, or as near to it as the family comes."""

CONVERSATIONS = ("oasst1", "openorca", "ultrachat_200k")
"""Many conversations on anything: they make a chat model of a base model."""
FEW_ROWS = ("self_identity", "medqa2019")
"""Some hundred rows on one thing."""


def skip(spec: ModelSpec, tuning: str, dataset: str) -> str | None:
    """Why a point of the standard set is left out; None: it is in."""
    billions = spec.parameters / 1e9
    if spec.family in EARLIER and (tuning, dataset) != ("qlora", "alpaca"):
        return f"the {spec.family} family has later models"
    if tuning == "full" and 16 * billions > 8 * 80:
        return "weights, gradients and AdamW's state, 16 bytes a parameter, are more than eight GPUs of 80 GB hold"
    if tuning == "full" and dataset in FEW_ROWS and billions > 2:
        return "full tuning on a few hundred rows makes a large model forget more than it learns"
    if tuning == "lora" and 2 * billions > 24:
        return "16-bit weights alone are more than a GPU of 24 GB holds; qlora gives the same for a quarter"
    if spec.chat and dataset in CONVERSATIONS:
        return "the vendor tuned it on more and better conversations than these"
    if not spec.chat and dataset in FEW_ROWS:
        return "a few hundred rows teach a chat model a fact, but not a base model to chat"
    return None


def points(models: Mapping[str, ModelSpec]) -> dict[str, Name]:
    """The names that an installed xtune has modules of: the rows, whatever skip() says, and the standard set."""
    return _named(models, product(models, STANDARD_TUNINGS, STANDARD_DATASETS))


def browsed(models: Mapping[str, ModelSpec]) -> dict[str, Name]:
    """The names that the repository has modules of, and that are listed first: the rows, and a page for each family."""
    pages: dict[tuple[str, bool], str] = {}
    for model, spec in models.items():
        other = pages.setdefault((spec.family, spec.chat), model)
        if abs(spec.parameters - USUAL_SIZE) <= abs(models[other].parameters - USUAL_SIZE):
            pages[spec.family, spec.chat] = model
    return _named(models, ((model, *line) for (_, chat), model in pages.items() for line in PAGE[chat]))


def every(models: Iterable[str]) -> Iterator[str]:
    """All names with the epochs that are usual for their data set, and the rows. Others compose too."""
    ends = [
        f"_{tuning}_{dataset}" + ("" if entry.example else f"_e{entry.epochs}")
        for tuning, (dataset, entry) in product(TUNINGS, DATASETS.items())
        if not entry.yours
    ]
    yield from dict.fromkeys([*_rows(), *(model + end for model in models for end in ends)])


def _named(models: Mapping[str, ModelSpec], wanted: Iterable[tuple[str, str, str]]) -> dict[str, Name]:
    """The rows, and what skip() leaves of a product of models, tunings and data sets, by their texts."""
    found = _rows()
    for model, tuning, dataset in wanted:
        if skip(models[model], tuning, dataset) is None:
            name = Name(model, tuning, dataset, DATASETS[dataset].epochs)
            found[name.text] = name
    return dict(sorted(found.items()))


def _rows() -> dict[str, Name]:
    found = {}
    for models, tunings, runs in XTUNER + OURS:
        for model, tuning, run in product(models.split(), tunings.split(), runs.split()):
            name = parse(f"{model}_{tuning}_{run}")
            assert name is not None, run
            found[name.text] = name
    return found
