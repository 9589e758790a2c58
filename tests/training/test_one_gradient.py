"""The same data and seed give the same losses and weights however a step is split."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import matrix_run
import pytest
import torch

from xtune.distributed import ZERO

LORA = {"name": "lora", "rank": 4, "dropout": 0.0, "init": "gaussian"}
TUNINGS = {"full": {"name": "full"}, "lora": LORA}
OTHERS = {
    "pissa": LORA | {"init": "pissa", "use_dora": True},
    "heads": LORA | {"train_also": ["embed_tokens", "lm_head"]},
    "head": LORA | {"targets": ["q_proj", "lm_head"]},
}
DPO = {"name": "dpo", "beta": 0.5, "label_smoothing": 0.1}
GATHERED = Path(__file__).with_name("zero3_gathers_all.json")
"""ZeRO-3 as a large model has it: no weight is so small that it stays."""


def alone(folder, options):
    matrix_run.run(folder / "alone", options)
    return torch.load(folder / "alone.pt")


def together(folder, cases, ranks):
    """Runs all cases in the same processes, one after another: to import everything takes longer than to train."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    root = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join([root, str(Path(root, "tests"))])
    script = [sys.executable, matrix_run.__file__, str(folder), json.dumps(cases)]
    starter = f"import sys; from xtune.dist.launch import start; sys.exit(start({script!r}, {ranks}))"
    done = subprocess.run([sys.executable, "-c", starter], env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return {name: torch.load(folder / f"{name}.pt") for name in cases}


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    return {
        name: alone(tmp_path_factory.mktemp(name), {"batch_size": 1, "accumulate": 16, "tuning": tuning})
        for name, tuning in (TUNINGS | OTHERS).items()
    } | {
        f"dpo-{name}": alone(
            tmp_path_factory.mktemp("dpo"), {"batch_size": 1, "accumulate": 16, "tuning": tuning, "objective": DPO}
        )
        for name, tuning in TUNINGS.items()
    }


def assert_same(got, wanted):
    steps = [(row["step"], row["learnt"]) for row in wanted["metrics"]]
    assert [(row["step"], row["learnt"]) for row in got["metrics"]] == steps and len(steps) == 8
    for row, expected in zip(got["metrics"], wanted["metrics"], strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        assert row["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-4)
        for name in {"accuracy", "margin"} & expected.keys():
            assert row[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-6)
    assert got["weights"].keys() == wanted["weights"].keys()
    for name, weight in wanted["weights"].items():
        largest = weight.abs().max()
        assert (got["weights"][name] - weight).abs().max() <= 1e-5 * largest, name


ALONE = {
    "2x8": {"batch_size": 2, "accumulate": 8},
    "4x4": {"batch_size": 4, "accumulate": 4},
    "16x1": {"batch_size": 16, "accumulate": 1},
    "packed": {"batch_size": 1, "accumulate": 4, "per_pack": 4},
    "packed, two rows": {"batch_size": 2, "accumulate": 2, "per_pack": 4},
    "checkpointing": {"batch_size": 4, "accumulate": 4, "checkpointing": True},
    "whole logits": {"batch_size": 4, "accumulate": 4, "chunked": False},
}


@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("case", ALONE)
def test_one_process(case, tuning, tmp_path, references):
    assert_same(alone(tmp_path, {**ALONE[case], "tuning": TUNINGS[tuning]}), references[tuning])


@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("case", ALONE)
def test_one_process_learns_from_pairs(case, tuning, tmp_path, references):
    options = {**ALONE[case], "tuning": TUNINGS[tuning], "objective": DPO}
    assert_same(alone(tmp_path, options), references[f"dpo-{tuning}"])


TWO = {
    f"{strategy}_{tuning}": {"distributed": strategy, "tuning": TUNINGS[tuning], "batch_size": 2, "accumulate": 4}
    for strategy in (*ZERO, "ddp", "fsdp")
    for tuning in TUNINGS
} | {
    "ddp_packs_lora": {"distributed": "ddp", "tuning": LORA, "batch_size": 1, "accumulate": 2, "per_pack": 4},
    "fsdp_checkpointing_full": {"distributed": "fsdp", "batch_size": 1, "accumulate": 8, "checkpointing": True},
    "fsdp_pissa": {"distributed": "fsdp", "tuning": OTHERS["pissa"], "batch_size": 2, "accumulate": 4},
    "ddp_heads": {"distributed": "ddp", "tuning": OTHERS["heads"], "batch_size": 2, "accumulate": 4},
    **{
        f"{strategy}_dpo-{tuning}": {"distributed": strategy, "tuning": TUNINGS[tuning], "objective": DPO, **split}
        for tuning in TUNINGS
        for strategy, split in {
            "ddp": {"batch_size": 2, "accumulate": 4},
            "fsdp": {"batch_size": 1, "accumulate": 2, "per_pack": 4},
            "deepspeed_zero3": {"batch_size": 2, "accumulate": 4},
        }.items()
    },
    "zero3_head": {
        "distributed": {"name": "deepspeed", "file": str(GATHERED)},
        "tuning": OTHERS["head"],
        "batch_size": 2,
        "accumulate": 4,
        "chunk_elements": 1,
    },
}
FOUR = {
    f"{strategy}_full": {"distributed": strategy, "batch_size": 2, "accumulate": 2}
    for strategy in ("ddp", "fsdp", "deepspeed_zero1", "deepspeed_zero2", "deepspeed_zero3")
}


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    return together(tmp_path_factory.mktemp("two"), TWO, 2)


@pytest.mark.parametrize("case", TWO)
def test_two_ranks(case, two_ranks, references):
    assert_same(two_ranks[case], references[case.rpartition("_")[2]])


def test_four_ranks(tmp_path, references):
    for got in together(tmp_path, FOUR, 4).values():
        assert_same(got, references["full"])
