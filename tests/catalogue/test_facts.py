"""XTuner's configs hold the values that XTuner's own files had, read here from the table of facts about them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from xtune.catalogue.names import parse
from xtune.registries import Components

PARTS = {
    "alpaca_enzh": ["alpaca", "alpaca_zh"],
    "alpaca_enzh_oasst1": ["alpaca", "alpaca_zh", "oasst1"],
    "oasst1_512": ["oasst1"],
    "oasst1_mmlu": ["oasst1"],
    "moss_sft_plugins": [],
    "moss_sft_all": [],
}
"""Data sets that the table describes by others, or that have a class of their own."""


def table(text: str, section: str) -> dict[str, list[str]]:
    """The rows of the first table below a heading, by their first cell."""
    body = text.split(f"\n## {section}")[1].split("\n## ")[0]
    rows = [line.replace("\\|", "¦").strip("|").split(" | ") for line in body.splitlines() if line.startswith("|")]
    return {row[0].strip(" `"): [cell.strip() for cell in row] for row in rows[2:]}


@pytest.fixture(scope="module")
def facts(shared: Path) -> str:
    return (shared / "facts" / "xtuner_catalogue.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def configs() -> dict[str, dict[str, Any]]:
    names = Path(__file__).with_name("xtuner_names.txt").read_text().split()
    found = Components([]).configs
    return {name: found[name] for name in names if not name.startswith("deepspeed")}


def test_there_are_296(configs: dict[str, Any]) -> None:
    assert len(configs) == 296


def test_models(facts: str, configs: dict[str, dict[str, Any]]) -> None:
    rows = table(facts, "6.")
    for text, values in configs.items():
        name = parse(text)
        assert name is not None
        row = rows[name.model]
        assert values["model"]["path"] == row[1]
        template = "moss_sft" if "moss" in text else row[3].split(";")[0].strip()
        if "msagent" in text:
            template = "default"
        special = re.search(r"(\w+) \(([\w,]+)\)", row[3])
        if special and name.tuning == "full" and name.dataset in special[2].split(","):
            template = special[1]
        assert values["template"] == template, text


def test_data(facts: str, configs: dict[str, dict[str, Any]]) -> None:
    rows = table(facts, "4.")
    for text, values in configs.items():
        name = parse(text)
        assert name is not None
        for part, entries in _parts(name.dataset, values["data"]):
            paths = [p for p in re.findall(r"`([^`]+)`", rows[part][1]) if "/" in p and "(" not in p]
            got = [entry["path"].removesuffix("/data/finetune") for entry in entries]
            assert got == [path.removeprefix("./") for path in paths[: len(got)]], text
            mappers = [m for m in re.findall(r"(\w+)_map_fn", rows[part][2]) if m != "template"]
            renamed = {"medical": "medical_zh"}
            assert [entry["mapper"] for entry in entries] == [renamed.get(m, m) for m in mappers], text


def _parts(dataset: str, entries: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Rows of the table and the data entries that each describes."""
    if dataset in PARTS:
        return [(part, [entry]) for part, entry in zip(PARTS[dataset], entries, strict=False)]
    return [(dataset, entries)]


def test_moss_files(facts: str, configs: dict[str, dict[str, Any]]) -> None:
    files = [p.removeprefix("./") for p in re.findall(r"`(\./data/[^`]+)`", table(facts, "4.")["moss_sft_all"][1])]
    for text, values in configs.items():
        if "moss_sft" in text:
            wanted = files if "_all_" in text else files[1:]
            assert [entry["path"] for entry in values["data"]] == wanted
            assert values["pack"] is False
            bot = values["data"][0]["options"]["bot_name"]
            assert bot in ("InternLM", "Llama", "Llama2", "Qwen", "Baichuan")
            assert bot in values["evaluation"]["system"]


def test_prompts_and_how_often(facts: str, configs: dict[str, dict[str, Any]]) -> None:
    rows = table(facts, "4.")
    scenic = ["请给我介绍五个上海的景点", "Please tell me five scenic spots in Shanghai"]
    code = re.findall(r"`([^`]+)`", facts.split("code pair = ")[1].split("\n")[0])
    for text, values in configs.items():
        name = parse(text)
        assert name is not None
        cell = rows[name.dataset if name.dataset != "moss_sft_plugins" else "moss_sft_all"][6]
        prompts = values["evaluation"]["prompts"]
        if cell.startswith("E0"):
            assert prompts == scenic
        elif cell.startswith("code pair"):
            assert prompts == code
        elif "`" in cell:
            quoted = [quote.replace("\\n", "\n") for quote in re.findall(r"`([^`]+)`", cell.split(";  ")[0])]
            assert (
                prompts
                == [quote for quote in quoted if not quote.startswith(("stop_words", "max_new"))][: len(prompts)]
            )
        often = re.search(r"/ \**(?:7b )?(\d+)", cell)
        assert values["evaluation"]["every"] == (int(often[1]) if often else 500), text


def test_strategies(configs: dict[str, dict[str, Any]]) -> None:
    """Sections 3 and 5, and the exceptions in the remarks of section 6."""
    for text, values in configs.items():
        name = parse(text)
        assert name is not None
        tuning, optimizer = values["tuning"], values["optimizer"]
        lr = {"qlora": 2e-4, "int8_lora": 3e-4, "full": 2e-5}[name.tuning]
        shape: tuple[Any, ...] = (64, 16, 0.1, "all-linear")
        weight_decay = 0.0
        if name.model == "llama2_70b":
            lr, shape = 3e-4, (64, 16, 0.1, ["gate_proj", "down_proj", "up_proj"])
        if name.tuning == "int8_lora":
            shape = (16, 16, 0.05, shape[3])
        if name.model == "mistral_7b":
            shape = (64, 16, 0.05, "all-linear")
        if name.model == "starcoder":
            # XTuner names q_attn too, which no layer of this model has
            lr, weight_decay, shape = 1e-4, 0.05, (16, 32, 0.05, ["c_proj", "c_attn"])
        assert (optimizer["lr"], optimizer["weight_decay"]) == (lr, weight_decay), text
        assert (tuple(optimizer["betas"]), optimizer["max_grad_norm"]) == ((0.9, 0.999), 1)
        if name.tuning == "full":
            assert tuning == {"name": "full"}
        else:
            assert tuple(tuning[key] for key in ("rank", "alpha", "dropout", "targets")) == shape, text
        if name.tuning == "qlora":
            assert (tuning["bits"], tuning["quant_type"], tuning["double_quant"]) == (4, "nf4", True)


def test_lengths_and_batches(configs: dict[str, dict[str, Any]]) -> None:
    for text, values in configs.items():
        assert values["max_length"] == (512 if "oasst1_512" in text else 2048)
        assert values["pack"] is not any(part in text for part in ("oasst1_512", "moss_sft", "msagent"))
        batch = (8, 1) if text.endswith("_gpu8") else (2, 16) if "wizardlm" in text else (1, 16)
        assert (values["train"]["batch_size"], values["train"]["accumulate"]) == batch, text
        if text.endswith("_hf"):
            assert values["schedule"]["warmup_steps"] == 100
            assert values["checkpoint"] == {"every": 1000, "keep": 2}
