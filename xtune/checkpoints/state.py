"""A rank's part of the optimizer's state, as tensors and plain numbers: no pickles.

It is the state of each parameter in order: tensors under "3.exp_avg", numbers in a table. That fits torch's optimizers,
bitsandbytes' and, with the flat parameters that it makes, DeepSpeed's ZeRO.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from xtune.compat.bitsandbytes import is_paged, paged
from xtune.errors import CheckpointError


def optimizer_state(optimizer: Optimizer, parameters: Sequence[Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state of `parameters`: tensors by "INDEX.KEY", and what else is needed to put them back.

    That is "parameters", their number; "numbers", state that is no tensor; "shards", tensors that are this rank's part
    of a greater one; "on_cpu", tensors that lie on the CPU although the parameter may not.
    """
    tensors: dict[str, Tensor] = {}
    facts: dict[str, Any] = {"parameters": len(parameters), "numbers": {}, "shards": [], "on_cpu": []}
    for index, parameter in enumerate(parameters):
        for key, value in sorted(optimizer.state.get(parameter, {}).items()):
            name = f"{index}.{key}"
            if isinstance(value, DTensor):
                facts["shards"].append(name)
                value = value.to_local()
            if not isinstance(value, Tensor):
                facts["numbers"][name] = value
                continue
            if value.device.type == "cpu":
                facts["on_cpu"].append(name)
            tensors[name] = value.detach().cpu().contiguous().clone()
    return tensors, facts


def load_optimizer_state(
    optimizer: Optimizer, parameters: Sequence[Tensor], tensors: dict[str, Tensor], facts: dict[str, Any]
) -> None:
    """Puts back what `optimizer_state` gave. Raises CheckpointError where it does not fit these parameters."""
    if facts["parameters"] != len(parameters):
        raise CheckpointError(
            f"the checkpoint's optimizer state is of {facts['parameters']} parameters: got {len(parameters)}",
            "resume with the config that it was trained with",
        )
    for name, value in {**tensors, **facts["numbers"]}.items():
        index, key = name.split(".", 1)
        parameter = parameters[int(index)]
        if isinstance(value, Tensor) and name not in facts["on_cpu"]:
            value = value.to(parameter.device)
        if name in facts["shards"]:
            value = _as_shard(value, parameter)
        if name in facts["on_cpu"] and is_paged(optimizer, key):
            value = paged(value, parameter, optimizer)
        optimizer.state[parameter][key] = value


def _as_shard(value: Tensor, parameter: Tensor) -> DTensor:
    if not isinstance(parameter, DTensor):
        raise CheckpointError(
            "the checkpoint's optimizer state is a shard, but this run shards nothing",
            "resume with the strategy that it was written by",
        )
    return DTensor.from_local(
        value.to(parameter.device),
        parameter.device_mesh,
        parameter.placements,
        shape=parameter.shape,
        stride=parameter.stride(),
    )
