"""The dataset axis: where the rows come from, and the settings that go with them.

Data that has no home on a hub stands under `data/` of the working directory; each entry says where it comes from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from xtune.catalogue import prompts
from xtune.mappers import systems

ALPACA_SYSTEM = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
)
MOSS_SYSTEM = (
    "You are an AI assistant whose name is {bot_name}.\nCapabilities and tools that {bot_name} can possess.\n"
    "- Inner thoughts: enabled.\n- Web search: enabled. API: Search(query)\n"
    "- Calculator: enabled. API: Calculate(expression)\n- Equation solver: enabled. API: Solve(equation)\n"
    "- Text-to-image: disabled.\n- Image edition: disabled.\n- Text-to-speech: disabled."
)

TOOLS = {
    "ArxivSearch": "Finds papers on arXiv. Input: the words to look for.",
    "PythonInterpreter": "Runs Python code and gives what it prints. Input: the code.",
    "WeatherForecast": "Forecasts the weather of a city. Input: the city and the date.",
}
"""Offered with the question of the ReAct data set: names and descriptions."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One entry of the axis. `changes` are dotted keys of the config that differ from what the tuning sets."""

    about: str
    data: list[dict[str, Any]]
    epochs: int = 3
    """Of the standard configs, and the default of names that do not say."""
    example: bool = False
    """Whether its configs are examples, whose names need no epochs."""
    system: str = ""
    """System message of the evaluation prompts: the one that the rows have."""
    named: bool = False
    """Whether the rows call the assistant by name, which the mapper's option bot_name sets."""
    prompts: list[str] = field(default_factory=lambda: prompts.SCENIC)
    every: int = 500
    """Steps between answers to the prompts."""
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def yours(self) -> bool:
        """Whether the rows are to be named with --data. Such names compose, but are not listed."""
        return not all(entry.get("path") for entry in self.data)


def _rows(path: str, mapper: str, **others: Any) -> dict[str, Any]:
    return {"path": path, "mapper": mapper, **others}


def _hub(path: str, mapper: str, *, split: str = "train", subset: str | None = None, **others: Any) -> dict[str, Any]:
    """Rows of a hub set; the split is always written, the subset where there is one."""
    return {"path": path, "split": split, **({"subset": subset} if subset else {}), "mapper": mapper, **others}


_ALPACA = _hub("tatsu-lab/alpaca", "alpaca", system=ALPACA_SYSTEM)
_ALPACA_ZH = _hub("silk-road/alpaca-data-gpt4-chinese", "alpaca_zh", system=ALPACA_SYSTEM)
_OASST1 = _hub("timdettmers/openassistant-guanaco", "oasst1")
_MOSS_CHAT = _rows("data/moss-003-sft-no-tools.jsonl", "moss_sft")
_MOSS_PLUGINS = _rows(
    "data/conversations_with_tools_with_inner_instruction_no_text2image_train_all_random_meta0.5_0.1_0.01_moss_0709.jsonl",
    "moss_sft",
)
_MOSS: dict[str, Any] = {
    "epochs": 1,
    "system": MOSS_SYSTEM,
    "named": True,
    "prompts": prompts.MOSS,
    "changes": {"template": "moss_sft", "pack": False},
}
_IDENTITY = _rows(
    "package:xtune/catalogue/rows/self_identity.jsonl", "self_identity", options={"name": "Lumi", "author": "Lumi Lab"}
)
_EVERYDAY = _rows("package:xtune/catalogue/rows/everyday.jsonl", "alpaca")
_SHORT = {"max_length": 512, "pack": False, "train.batch_size": 8, "train.accumulate": 1}

DATASETS = {
    "alpaca": Dataset(about="Alpaca", data=[_ALPACA], system=ALPACA_SYSTEM),
    "alpaca_zh": Dataset(about="Chinese Alpaca", data=[_ALPACA_ZH], system=ALPACA_SYSTEM),
    "alpaca_enzh": Dataset(about="English and Chinese Alpaca", data=[_ALPACA, _ALPACA_ZH], system=ALPACA_SYSTEM),
    "alpaca_enzh_oasst1": Dataset(
        about="English and Chinese Alpaca, OpenAssistant oasst1",
        data=[_ALPACA, _ALPACA_ZH, _OASST1],
        system=ALPACA_SYSTEM,
    ),
    "oasst1": Dataset(about="OpenAssistant oasst1", data=[_OASST1]),
    "oasst1_512": Dataset(
        about="OpenAssistant oasst1 at 512 tokens", data=[_OASST1], changes={"max_length": 512, "pack": False}
    ),
    "oasst1_mmlu": Dataset(  # the questions are those of QLoRA: https://github.com/artidoro/qlora, data/mmlu
        about="OpenAssistant oasst1, evaluated on five-shot MMLU",
        data=[_OASST1],
        changes={
            "evaluation.choices": [
                _rows("data/mmlu/five_shot_mmlu_val.json", "default"),
                _rows("data/mmlu/five_shot_mmlu_test.json", "default"),
            ]
        },
    ),
    "open_platypus": Dataset(
        about="Open-Platypus",
        data=[_hub("garage-bAInd/Open-Platypus", "alpaca", system=ALPACA_SYSTEM)],
        system=ALPACA_SYSTEM,
    ),
    "openorca": Dataset(about="OpenOrca", data=[_hub("Open-Orca/OpenOrca", "openorca")], epochs=1, every=5000),
    "ultrachat_200k": Dataset(
        about="UltraChat 200k",
        data=[_hub("HuggingFaceH4/ultrachat_200k", "openai", split="train_sft")],
        epochs=1,
        changes={"max_length": 512, "tuning.alpha": 128},
    ),
    "sql": Dataset(
        about="SQL with its tables",
        data=[_hub("b-mc2/sql-create-context", "sql")],
        system=systems.SQL,
        prompts=prompts.SQL,
    ),
    "tiny_codes": Dataset(
        about="tiny-codes",
        data=[_hub("nampdn-ai/tiny-codes", "tiny_codes")],
        epochs=1,
        system=systems.CODER,
        prompts=prompts.CODE,
    ),
    "code_alpaca": Dataset(
        about="CodeAlpaca",
        data=[_hub("HuggingFaceH4/CodeAlpaca_20K", "code_alpaca")],
        system=systems.CODER,
        prompts=prompts.CODE,
        every=100,
    ),
    "lawyer": Dataset(  # from https://github.com/LiuHC0428/LAW-GPT
        about="Chinese law",
        data=[
            _rows("data/CrimeKgAssitant清洗后_52k.json", "crime_kg_assitant"),
            _rows("data/训练数据_带法律依据_92k.json", "law_reference"),
        ],
        system=systems.LAWYER,
        prompts=prompts.LAWYER,
    ),
    "colorist": Dataset(
        about="colours by description",
        data=[_hub("burkelibbey/colors", "colors")],
        epochs=5,
        system=systems.COLORIST,
        prompts=prompts.COLORIST,
        every=200,
    ),
    "arxiv_gentitle": Dataset(  # from https://kaggle.com/datasets/Cornell-University/arxiv
        about="titles for arXiv abstracts",
        data=[_rows("data/arxiv_data.json", "arxiv")],
        system=systems.ARXIV,
        prompts=prompts.ABSTRACTS,
    ),
    "medical": Dataset(
        about="Chinese patients' questions",
        data=[_hub("shibing624/medical", "medical_zh", subset="finetune")],
        epochs=1,
        system=systems.MEDICAL,
        prompts=prompts.MEDICAL,
    ),
    "medqa2019": Dataset(  # from https://github.com/abachaa/Medication_QA_MedInfo2019
        about="questions on medication, from a workbook",
        data=[_rows("data/MedInfo2019-QA-Medications.xlsx", "medical")],
        prompts=prompts.MEDICATION,
        every=50,
    ),
    "moss_sft_all": Dataset(  # from https://huggingface.co/datasets/fnlp/moss-003-sft-data
        about="MOSS, with and without plugins", data=[_MOSS_CHAT, _MOSS_PLUGINS], **_MOSS
    ),
    "moss_sft_plugins": Dataset(about="MOSS with plugins", data=[_MOSS_PLUGINS], **_MOSS),
    "msagent_react": Dataset(  # from https://modelscope.cn/datasets/damo/MSAgent-Bench
        about="MSAgent-Bench in ReAct form",
        data=[_hub("damo/MSAgent-Bench", "msagent_react")],
        system=systems.react(TOOLS),
        prompts=prompts.WEATHER,
        changes={"template": "default", "pack": False},
    ),
    "wizardlm": Dataset(
        about="WizardLM evol-instruct",
        data=[_hub("WizardLM/WizardLM_evol_instruct_V2_196k", "wizardlm")],
        epochs=1,
    ),
    "skypile_pretrain": Dataset(
        about="continued pre-training on SkyPile",
        data=[_hub("Skywork/SkyPile-150B", "pretrain")],
        epochs=1,
        prompts=prompts.SCENIC_START,
        changes={"evaluation.max_new_tokens": 100},
    ),
    "stack_exchange_example": Dataset(
        about="20,000 rows of Stack Exchange",
        data=[_hub("ArmelR/stack-exchange-instruction/data/finetune", "stack_exchange", limit=20000)],
        epochs=1,
        example=True,
        prompts=prompts.FUNCTION,
        every=200,
    ),
    "self_identity": Dataset(
        about="who the model is, and ordinary rows so that it forgets nothing",
        data=[_IDENTITY, _EVERYDAY],
        epochs=5,
        prompts=prompts.IDENTITY,
        every=20,
        changes=_SHORT,
    ),
    "self_identity_demo": Dataset(
        about="who the model is: the demonstration",
        data=[_IDENTITY, _EVERYDAY],
        example=True,
        prompts=prompts.IDENTITY,
        every=1000,
        changes={
            "tuning.alpha": 64,
            "max_length": 512,
            "train.accumulate": 1,
            "optimizer.lr": 4e-4,
            "evaluation.max_new_tokens": 32,
        },
    ),
    "json": Dataset(about="your own rows in XTuner's form", data=[{"mapper": "conversation"}]),
    "custom_sft": Dataset(about="your own conversations", data=[{"mapper": "openai"}], epochs=1),
    "custom_pretrain": Dataset(
        about="continued pre-training on your own texts",
        data=[{"mapper": "pretrain"}],
        epochs=1,
        prompts=prompts.SHANGHAI,
    ),
}
