"""A checkpoint's weights and training state, put back into a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import nn

from xtune.checkpoints.state import load_optimizer_state
from xtune.dist import ranks
from xtune.distributed.parallel import Parallel
from xtune.errors import CheckpointError
from xtune.models.adapter_files import refuse_untrainable
from xtune.models.load import load_whole
from xtune.tuning.taken_out import narrowed, take_out, takes_out

TRAINER = "state/trainer.json"


WHOLE = Parallel.layout


def load_weights(model: nn.Module, folder: Path) -> None:
    """Puts a checkpoint's trained weights into `model`, which is prepared for training but not yet distributed.

    Raises CheckpointError for the checkpoint of another model.
    """
    adapter = (folder / "adapter_config.json").is_file()
    if adapter != hasattr(model, "peft_config"):
        kinds = {True: "an adapter", False: "a whole model"}
        raise CheckpointError(
            f"checkpoint {folder} holds {kinds[adapter]}: this run trains {kinds[not adapter]}",
            "resume with the tuning that it was trained with",
        )
    if adapter:
        from peft import get_peft_model_state_dict, set_peft_model_state_dict

        found, starts = load_file(folder / "adapter_model.safetensors"), None
        refuse_untrainable(f"checkpoint {folder}", found)
        if takes_out(model):
            found, starts = narrowed(found)
        wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
        _compare(folder, {k: v.shape for k, v in found.items()}, {k: v.shape for k, v in wanted.items()})
        set_peft_model_state_dict(model, found)
        if starts is not None:
            take_out(model, starts)
        return
    kind: Any = type(model)
    source = load_whole(folder, str(folder), kind, kind.config_class.from_pretrained(folder), {"dtype": torch.float32})
    found = dict(source.named_parameters())
    wanted = dict(model.named_parameters())
    _compare(folder, {k: v.shape for k, v in found.items()}, {k: v.shape for k, v in wanted.items()})
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(found[name])


def _compare(folder: Path, found: dict[str, torch.Size], wanted: dict[str, torch.Size]) -> None:
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            sizes = [list(shapes[name]) if name in shapes else "nothing" for shapes in (found, wanted)]
            raise CheckpointError(
                f"checkpoint {folder} is of another model: {name} is {sizes[0]} there and {sizes[1]} here",
                "resume with the model that it was trained with",
            )


class Start(NamedTuple):
    """Where a run begins: after `step` steps, perhaps with an evaluation to make up for."""

    step: int = 0
    evaluation_due: bool = False


def load_training_state(parallel: Parallel, folder: Path) -> Start:
    """Puts the optimizer's state back and returns where to go on from.

    State that each rank holds whole fits any number of ranks. Raises CheckpointError for other shards.
    """
    trainer = json.loads((folder / TRAINER).read_text(encoding="utf-8"))
    if trainer["layout"] != parallel.layout:
        raise CheckpointError(
            f"checkpoint {folder} was written by another strategy: its optimizer state is {trainer['layout']}, "
            f"here it is {parallel.layout}",
            "resume with the strategy it was written by",
        )
    if parallel.layout != WHOLE and trainer["ranks"] != ranks.world_size():
        raise CheckpointError(
            f"the optimizer state of checkpoint {folder} is sharded over {trainer['ranks']} ranks: this run has "
            f"{ranks.world_size()}",
            f"resume with {trainer['ranks']}",
        )
    number = 0 if parallel.layout == WHOLE else ranks.rank()
    facts = json.loads((folder / "state" / f"rank_{number}.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / "state" / f"rank_{number}.safetensors")
    load_optimizer_state(parallel.optimizer, parallel.trained(), tensors, facts)
    return Start(trainer["step"], trainer["evaluation_due"])
