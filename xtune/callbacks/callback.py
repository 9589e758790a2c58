"""What can watch a run. Callbacks look; none of them changes what is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict

from xtune.config.schema import Settings

if TYPE_CHECKING:
    from xtune.objectives.objective import Objective

NO_FIGURES = ("step", "loss", "learnt", "trained")


@dataclass(frozen=True)
class RunFacts:
    """What a callback may want to show: the run's folder, first and last step, objective, what it is made of, journals.

    The journals grow while the run goes on; in a resumed run they begin with what stood in them.
    """

    work_dir: Path
    first_step: int
    last_step: int
    objective: Objective
    about: dict[str, Any]
    metrics: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    answers: list[dict[str, Any]]
    choices: list[dict[str, Any]]


def figures(row: dict[str, Any], objective: Objective) -> dict[str, float]:
    """What the objective shows of an evaluation beside the loss, by name."""
    return {name: value for name, value in row.items() if name not in (*NO_FIGURES, objective.unit)}


def spoken(name: str) -> str:
    """A metric's name as it is shown."""
    return name.replace("_", " ")


class Callback(Settings):
    """A watcher of a run, on rank 0; its fields are its options. Rows are what stands in the journals."""

    model_config = ConfigDict(frozen=False)

    always: ClassVar[bool] = False
    """Whether every run has it, named in the config or not."""
    subject: ClassVar[str] = "callbacks"
    """What a finding of `check` is listed under."""

    def __setattr__(self, name: str, value: Any) -> None:
        """A callback may remember anything: only what its class declares is an option."""
        object.__setattr__(self, name, value)

    def check(self) -> None:
        """Raises an XtuneError for what this machine lacks, before anything is loaded."""

    def started(self, facts: RunFacts) -> None:
        """Before the first step."""

    def stepped(self, row: dict[str, Any]) -> None:
        """After each step: step, loss, the objective's metrics and unit, lr, grad_norm, tokens, trained, seconds,
        memory_gib."""

    def evaluated(self, row: dict[str, Any]) -> None:
        """After an evaluation: step, loss, the objective's figures (perplexity) and unit, trained."""

    def answered(self, rows: list[dict[str, Any]]) -> None:
        """After the config's prompts were answered: step, prompt, answer of each."""

    def chosen(self, rows: list[dict[str, Any]]) -> None:
        """After multiple-choice questions were asked: step, name, accuracy, right, questions, too_long of each set."""

    def saved(self, step: int, folder: Path) -> None:
        """After a checkpoint was written, whole and in its place."""

    def ended(self, reason: str) -> None:
        """After the last step, also of a run that was stopped."""


Hook = Callback
"""What Callback was called before; for one version."""
