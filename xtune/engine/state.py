"""A rank's part of the training state, as tensors and plain numbers: no pickles.

An optimizer is saved as the state of each of its parameters, in order: tensors under "3.exp_avg", numbers in a table.
That fits torch's optimizers, bitsandbytes' and, as flat parameters, DeepSpeed's ZeRO ones.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from xtune.errors import CheckpointError


def optimizer_state(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """This rank's optimizer state: tensors by "INDEX.KEY", and {"numbers": ..., "sharded": names of local shards}."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    sharded = []
    for index, parameter in enumerate(_parameters(optimizer)):
        for key, value in optimizer.state.get(parameter, {}).items():
            name = f"{index}.{key}"
            if isinstance(value, DTensor):
                sharded.append(name)
                value = value.to_local()
            if isinstance(value, Tensor):
                tensors[name] = value.detach().cpu().contiguous().clone()
            else:
                numbers[name] = value
    return tensors, {"numbers": numbers, "sharded": sharded}


def load_optimizer_state(optimizer: Optimizer, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Puts back what `optimizer_state` gave. Raises CheckpointError where it does not fit this optimizer."""
    parameters = _parameters(optimizer)
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **facts["numbers"]}.items():
        index, key = name.split(".", 1)
        if int(index) >= len(parameters):
            raise CheckpointError("the checkpoint's optimizer state has more parameters than are trained now")
        parameter = parameters[int(index)]
        if name in facts["sharded"]:
            value = _as_dtensor(value, parameter, name)
        state.setdefault(int(index), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _as_dtensor(value: Tensor, parameter: Tensor, name: str) -> DTensor:
    if not isinstance(parameter, DTensor) or parameter.to_local().shape != value.shape:
        raise CheckpointError(f"the checkpoint's optimizer state {name} is a shard that does not fit this run's ranks")
    local = value.to(parameter.device)
    return DTensor.from_local(
        local, parameter.device_mesh, parameter.placements, shape=parameter.shape, stride=parameter.stride()
    )


def _parameters(optimizer: Optimizer) -> list[torch.nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
