"""One process of DeepSpeed beside plain torch: steps, sums of gradients, and the sizes of what it sharded."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from xtune.compat.deepspeed import whole_shape, whole_size

PROGRAM = """
import json
import sys
from pathlib import Path

import torch
from torch import nn

from xtune.compat import deepspeed as compat
from xtune.dist import launch
from xtune.distributed.deepspeed import initialize

stage, extensions = int(sys.argv[1]), Path(sys.argv[2])
torch.manual_seed(0)
plain = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
model.load_state_dict(plain.state_dict())
rows = torch.randn(2, 5, 3)
settings = {
    "train_micro_batch_size_per_gpu": 5, "gradient_accumulation_steps": 2, "gradient_clipping": 0.0,
    "zero_allow_untested_optimizer": True, "zero_force_ds_cpu_optimizer": False,
    "zero_optimization": {"stage": stage, "stage3_param_persistence_threshold": 0},
}
made = []
with launch.process_group(needed=True):
    def optimizer(module):
        made.append(torch.optim.SGD(module.parameters(), lr=1.0))
        return made[-1]

    engine = initialize(model, optimizer, settings)
    inner = compat.torch_optimizer(engine)
    for group in inner.param_groups:
        group["lr"] = 0.1
    for number, batch in enumerate(rows):
        engine.set_gradient_accumulation_boundary(number == 1)
        compat.backward_sum(engine, engine(batch).square().sum(), 1)
    engine.step()
    sizes = [[list(compat.whole_shape(p)), compat.whole_size(p), p.numel()] for p in model.parameters()]
    sharded = sum(shard.numel() for shard in compat.shards(engine)) if stage == 3 else None
    import deepspeed
    with deepspeed.zero.GatheredParameters(list(model.parameters()), enabled=stage == 3):
        found = [p.detach().clone() for p in model.parameters()]
reference = torch.optim.SGD(plain.parameters(), lr=0.1)
for batch in rows:
    plain(batch).square().sum().backward()
reference.step()
apart = max(float((a - b).abs().max()) for a, b in zip(found, plain.parameters(), strict=True))
built = [str(path) for path in extensions.rglob("*.so")]
print(json.dumps({"apart": apart, "sizes": sizes, "sharded": sharded, "own": inner is made[0], "built": built}))
"""


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_step_of_two_micro_batches_is_that_of_torch_on_the_sum(tmp_path, stage):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    places = {"TORCH_EXTENSIONS_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(stage), str(tmp_path)],
        env=os.environ | alone | places | {"DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["apart"] < 1e-6
    assert [size[:2] for size in found["sizes"]] == [[[2, 3], 6], [[2], 2], [[1, 2], 2], [[1], 1]]
    assert found["own"] and found["built"] == []
    if stage == 3:
        assert {left for *_, left in found["sizes"]} == {0} and found["sharded"] >= 11


def test_a_weight_that_nobody_sharded_has_its_own_size():
    weight = nn.Parameter(torch.ones(2, 3))
    assert whole_shape(weight) == (2, 3) and whole_size(weight) == 6
