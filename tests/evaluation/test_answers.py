"""Prompts that cannot be answered: a line where a rank is alone, an end where others would wait for it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
FAILS = """
import sys
from pathlib import Path
import torch
from engine_standins import TinyRun, tiny_config
from transformers import LlamaForCausalLM
from xtune.dist import ranks
from xtune.dist.launch import process_group
from xtune.training.train import train_run

forward, calls = LlamaForCausalLM.forward, []

def at_the_third_token(self, *args, **options):
    if options.get("past_key_values") is not None and ranks.rank() == 1:
        calls.append(1)
        if len(calls) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory (said here)")
    return forward(self, *args, **options)

LlamaForCausalLM.forward = at_the_third_token
with process_group():
    evaluation = {"prompts": ["w5 w6"], "max_new_tokens": 12, "every": 100}
    tiny = TinyRun(tiny_config({"name": "full"}, sys.argv[1], train={"max_steps": 2}, evaluation=evaluation))
    result = train_run(tiny, Path(__file__).parent / "run")
    if ranks.rank() == 0:
        print(result.reason)
"""


@pytest.mark.parametrize("strategy", ["ddp", "fsdp", "deepspeed_zero3"])
def test_one_rank_runs_out_of_memory(strategy, tmp_path):
    (tmp_path / "rank.py").write_text(FAILS)
    command = [sys.executable, str(tmp_path / "rank.py"), strategy]
    starter = f"import sys; from xtune.dist.launch import start; sys.exit(start({command!r}, 2))"
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "DS_ACCELERATOR": "cpu"}
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", starter], env=environment, capture_output=True, text=True, timeout=200)
    if strategy == "ddp":
        assert done.returncode == 0 and done.stdout.splitlines()[-1] == "finished", done.stderr
        return
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("xtune: error")]
    assert lines[0].startswith("xtune: error: rank 1: the prompts cannot be answered: ")
    assert "CUDA out of memory (said here) (the weights are sharded" in lines[0]
    assert time.monotonic() - began < 150
