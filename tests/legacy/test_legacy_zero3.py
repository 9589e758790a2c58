"""DeepSpeed's ZeRO-3 reads the vendors' layouts while every parameter is an empty shard."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from legacy_vendors import variant

PROGRAM = """
import sys
import deepspeed
import torch
from transformers.integrations import HfDeepSpeedConfig
import xtune

folders = sys.argv[1:]
plain = [xtune.load_model(folder, dtype="float32").state_dict() for folder in folders]
deepspeed.init_distributed("gloo")
zero = {"stage": 3, "stage3_param_persistence_threshold": 0}
held = HfDeepSpeedConfig({"train_micro_batch_size_per_gpu": 1, "zero_optimization": zero})
for folder, expected in zip(folders, plain, strict=True):
    model = xtune.load_model(folder, dtype="float32")
    assert {parameter.numel() for parameter in model.parameters()} == {0}
    with deepspeed.zero.GatheredParameters(list(model.parameters())):
        assert all(torch.equal(parameter, expected[name]) for name, parameter in model.named_parameters())
print("equal")
"""


def test_zero_3_loads_the_same_weights(tmp_path):
    folders = [str(variant(name, tmp_path / name)[0]) for name in ("internlm2", "qwen", "chatglm", "baichuan2_13b")]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    environment = os.environ | alone | {"DS_ACCELERATOR": "cpu", "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run([sys.executable, "-c", PROGRAM, *folders], env=environment, capture_output=True, text=True)
    assert run.stdout.rstrip().endswith("equal"), run.stderr[-2000:]
