"""A run's checkpoints: what goes into one, and how a run takes up from one. The format is that of `checkpoint`."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from xtune.atomic import system_error
from xtune.checkpoints import checkpoint as files
from xtune.checkpoints.journal import FOLDER as JOURNALS
from xtune.checkpoints.journal import Journal
from xtune.checkpoints.load import TRAINER, WHOLE
from xtune.checkpoints.state import optimizer_state
from xtune.dist import ranks
from xtune.distributed.parallel import Parallel
from xtune.errors import CheckpointError
from xtune.tuning.taken_out import takes_out, widened, widened_settings

log = logging.getLogger(__name__)

BEST = "best.json"


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
