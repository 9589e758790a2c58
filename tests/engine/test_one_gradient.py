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

LORA = {"name": "lora", "rank": 4, "dropout": 0.0, "init": "gaussian"}
REFERENCE = {"batch_size": 1, "accumulate": 16}


def result(tmp_path, options, ranks=1):
    out = tmp_path / "-".join(str(value) for value in [*options.values(), ranks]).replace("/", "")[:100]
    out.mkdir()
    if ranks == 1:
        matrix_run.run(out, options)
    else:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
        script = [sys.executable, matrix_run.__file__, str(out), json.dumps(options)]
        starter = f"import sys; from xtune.engine.launch import start; sys.exit(start({script!r}, {ranks}))"
        root = str(Path(__file__).resolve().parents[2])
        environment["PYTHONPATH"] = os.pathsep.join([root, str(Path(__file__).parent)])
        done = subprocess.run(
            [sys.executable, "-c", starter], env=environment, capture_output=True, text=True, timeout=280
        )
        assert done.returncode == 0, done.stderr
    return torch.load(out / "result.pt")


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    made = {}

    def reference(tuning):
        name = json.dumps(tuning)
        if name not in made:
            made[name] = result(tmp_path_factory.mktemp("reference"), {**REFERENCE, "tuning": tuning})
        return made[name]

    return reference


def assert_same(got, wanted):
    steps = [(row["step"], row["learnt"]) for row in wanted["metrics"]]
    assert [(row["step"], row["learnt"]) for row in got["metrics"]] == steps and len(steps) == 8
    for row, expected in zip(got["metrics"], wanted["metrics"], strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        assert row["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-4)
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


@pytest.mark.parametrize("tuning", [{"name": "full"}, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("case", ALONE)
def test_one_process(case, tuning, tmp_path, references):
    assert_same(result(tmp_path, {**ALONE[case], "tuning": tuning}), references(tuning))


FAST = [
    ("ddp", {"name": "full"}, 2),
    ("fsdp", LORA, 2),
    ("deepspeed_zero2", {"name": "full"}, 2),
    ("deepspeed_zero3", LORA, 2),
]
SLOW = [
    (name, tuning, 2)
    for name in ("ddp", "fsdp", "deepspeed_zero1", "deepspeed_zero2", "deepspeed_zero3")
    for tuning in ({"name": "full"}, LORA)
    if (name, tuning, 2) not in FAST
] + [
    ("ddp", {"name": "full"}, 4),
    ("fsdp", {"name": "full"}, 4),
    ("deepspeed_zero2_offload", LORA, 2),
    ("deepspeed_zero3_offload", {"name": "full"}, 2),
]


@pytest.mark.parametrize(
    ("strategy", "tuning", "ranks"),
    [*FAST, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)],
    ids=lambda value: value["name"] if isinstance(value, dict) else str(value),
)
def test_ranks(strategy, tuning, ranks, tmp_path, references):
    options = {"batch_size": 2, "accumulate": 16 // ranks // 2, "distributed": strategy, "tuning": tuning}
    assert_same(result(tmp_path, options, ranks), references(tuning))


def test_ranks_with_packs(tmp_path, references):
    options = {"batch_size": 1, "accumulate": 2, "per_pack": 4, "distributed": "ddp", "tuning": LORA}
    assert_same(result(tmp_path, options, 2), references(LORA))
