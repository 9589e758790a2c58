"""A run's checkpoints: what goes into one, and how a run takes up from one. The format is that of `checkpoint`."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from xtune.atomic import system_error
from xtune.checkpoints import checkpoint as files
from xtune.checkpoints.journal import FOLDER as JOURNALS
from xtune.checkpoints.journal import Journal
from xtune.checkpoints.state import load_optimizer_state, optimizer_state
from xtune.dist import ranks
from xtune.distributed.parallel import Parallel
from xtune.errors import CheckpointError
from xtune.models.adapter_files import refuse_untrainable
from xtune.models.load import load_whole
from xtune.tuning.taken_out import narrowed, take_out, takes_out, widened, widened_settings

log = logging.getLogger(__name__)

TRAINER = "state/trainer.json"
BEST = "best.json"
WHOLE = Parallel.layout


@dataclass
class Saver:
    """Writes checkpoints of one run. `describe` writes what else belongs to it (template, config, versions)."""

    work_dir: Path
    parallel: Parallel
    keep: int
    describe: Callable[[Path], None]
    journals: Sequence[Journal] = ()
    """Made safe before a checkpoint that they lead up to."""
    best: Callable[[], dict[str, Any] | None] = lambda: None
    """{"step", "loss"} of the best evaluation, where the best checkpoint is kept."""

    def save(self, step: int, *, final: bool = False, scheduled: bool = True, evaluation_due: bool = False) -> None:
        """Writes the checkpoint of `step` and deletes those that are too many. All ranks call it together.

        `scheduled` is Manifest.scheduled. `evaluation_due`: it was left out, for the run had to stop at once.
        A disk that refuses costs this checkpoint, not the run: it is said, and the earlier ones stay. After the last
        step it raises CheckpointError.
        """
        staging = files.staging_folder(self.work_dir, step)
        weights = self.parallel.weights()
        failed = self._together(step, lambda: (staging / "state").mkdir(parents=True, exist_ok=True))
        failed = failed or self._together(step, lambda: self._write(staging, step, weights, evaluation_due))
        if not failed:
            failed = self._together(step, lambda: self._publish(step, scheduled))
        if failed and final:
            raise CheckpointError(failed)
        if failed:
            log.warning("%s; training goes on", failed)

    def _together(self, step: int, write: Callable[[], None]) -> str | None:
        """Calls `write` on every rank; the first rank's complaint, if any has one."""
        complaints = ranks.gather(_complaint(step, self.work_dir, write))
        return next((complaint for complaint in complaints if complaint), None)

    def _write(self, staging: Path, step: int, weights: dict[str, Tensor], evaluation_due: bool) -> None:
        if self.parallel.layout != WHOLE or ranks.rank() == 0:
            tensors, facts = optimizer_state(self.parallel.optimizer, self.parallel.trained())
            save_file(tensors, staging / "state" / f"rank_{ranks.rank()}.safetensors")
            files.write_json(staging / "state" / f"rank_{ranks.rank()}.json", facts)
        if ranks.rank() == 0:
            save_weights(self.parallel.inner.model, weights, staging)  # type: ignore[arg-type]
            facts = {"step": step, "ranks": ranks.world_size(), "layout": self.parallel.layout}
            files.write_json(staging / TRAINER, facts | {"evaluation_due": evaluation_due})
            (staging / JOURNALS).mkdir(exist_ok=True)
            for journal in self.journals:
                if journal.text:
                    (staging / JOURNALS / journal.path.name).write_bytes(journal.text)
            self.describe(staging)

    def _publish(self, step: int, scheduled: bool) -> None:
        if ranks.rank() == 0:
            for journal in self.journals:
                journal.sync()
            kind = "adapter" if (files.staging_folder(self.work_dir, step) / "adapter_config.json").exists() else "full"
            files.publish(self.work_dir, step, {"weights": kind, "scheduled": scheduled})
            self._tidy()

    def _tidy(self) -> None:
        best, record = self.best(), self.work_dir / files.FOLDER / BEST
        if best is None or not record.with_name(f"step_{best['step']}").is_dir():
            record.unlink(missing_ok=True)
        else:
            files.replace_json(record, best)
        files.prune(self.work_dir, self.keep, best["step"] if best else None)

    def take_up(self, source: Path) -> None:
        """Before a run goes on from `source`: looks for the best checkpoint, which is copied from beside `source` where
        that is in another work dir, and does what may not have been done any more after the last save.
        """
        if ranks.rank() > 0:
            return
        best = self.best()
        try:
            if best is not None:
                found = source.with_name(f"step_{best['step']}")
                files.verify(found)
                if not found.samefile(self.work_dir / files.FOLDER / found.name):
                    files.adopt(found, self.work_dir)
        except (CheckpointError, OSError) as error:
            log.warning("the best checkpoint, of step %d, cannot be kept: %s", best["step"], error)  # type: ignore[index]
        self._tidy()


def _complaint(step: int, work_dir: Path, write: Callable[[], None]) -> str | None:
    """Calls `write`. What the disk refuses comes back as one line; the staging folder is deleted then."""
    try:
        write()
        return None
    except Exception as error:
        refused = system_error(error)
        if refused is None:
            raise
        shutil.rmtree(files.staging_folder(work_dir, step), ignore_errors=True)
        good = [path.name for path in files.list_checkpoints(work_dir)]
        return (
            f"the checkpoint of step {step} cannot be written to {work_dir}: {refused.strerror or refused}; "
            f"make room or rights there ({', '.join(good) or 'no earlier checkpoint'} kept)"
        )


def save_weights(model: nn.Module, weights: dict[str, Tensor], folder: Path) -> None:
    """Writes trained weights (named as in LogProbModel) in Hugging Face layout, without a tokenizer."""
    state = {name.removeprefix("model."): tensor for name, tensor in weights.items()}
    if hasattr(model, "peft_config"):
        save_adapter(model, state, folder)
    else:
        model.save_pretrained(folder, state_dict=state)  # type: ignore[operator]


def save_adapter(model: Any, state: dict[str, Tensor], folder: Path) -> None:
    """Writes the adapter of a PeftModel so that it fits the base as it was loaded, whatever was taken out of it."""
    wide = takes_out(model)
    state = widened(model, state) if wide else state
    model.save_pretrained(folder, state_dict=state, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    if wide:
        file = folder / "adapter_config.json"
        files.write_json(file, widened_settings(json.loads(file.read_text(encoding="utf-8"))))


def load_weights(model: nn.Module, folder: Path) -> None:
    """Puts a checkpoint's trained weights into `model`, which is prepared for training but not yet spread.

    Raises CheckpointError for the checkpoint of another model.
    """
    adapter = (folder / "adapter_config.json").is_file()
    if adapter != hasattr(model, "peft_config"):
        kinds = {True: "an adapter", False: "a whole model"}
        raise CheckpointError(f"checkpoint {folder} holds {kinds[adapter]}: this run trains {kinds[not adapter]}")
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
                f"checkpoint {folder} is of another model: {name} is {sizes[0]} there and {sizes[1]} here"
            )


class Start(NamedTuple):
    """Where a run begins: after `step` steps, perhaps with an evaluation to make up for."""

    step: int = 0
    evaluation_due: bool = False


def load_training_state(parallel: Parallel, folder: Path) -> Start:
    """Puts the optimizer's state back and returns where to go on from.

    State that each rank holds whole fits any number of ranks. Raises CheckpointError for state that is cut otherwise.
    """
    trainer = json.loads((folder / TRAINER).read_text(encoding="utf-8"))
    if trainer["layout"] != parallel.layout:
        raise CheckpointError(
            f"checkpoint {folder} was written by another strategy: its optimizer state is {trainer['layout']}, "
            f"here it is {parallel.layout}; resume with the strategy it was written by"
        )
    if parallel.layout != WHOLE and trainer["ranks"] != ranks.world_size():
        raise CheckpointError(
            f"checkpoint {folder} is cut for {trainer['ranks']} ranks: got {ranks.world_size()}; resume with as many"
        )
    number = 0 if parallel.layout == WHOLE else ranks.rank()
    facts = json.loads((folder / "state" / f"rank_{number}.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / "state" / f"rank_{number}.safetensors")
    load_optimizer_state(parallel.optimizer, parallel.trained(), tensors, facts)
    return Start(trainer["step"], trainer["evaluation_due"])
