"""What can watch a run. Hooks look; none of them changes what is trained."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtune.foreign import reason

if TYPE_CHECKING:
    from xtune.objectives.objective import Objective

log = logging.getLogger(__name__)

NO_FIGURES = ("step", "loss", "learnt", "trained")


@dataclass(frozen=True)
class RunFacts:
    """What a hook may want to show: the run's folder, its first and last step, what is learnt, what it is made of, its
    journals.

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


class Hook:
    """A watcher of a run, on rank 0. Rows are what stands in the journals."""

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

    def ended(self, reason: str) -> None:
        """After the last step, also of a run that was stopped."""


def tell(hooks: list[Hook], event: Callable[..., None], *facts: Any) -> None:
    """Calls the method `event` (of Hook) of all hooks. One that the system refuses to write is left out from then on:
    a full disk or a closed terminal costs what is shown, not the run.
    """
    for hook in list(hooks):
        try:
            getattr(hook, event.__name__)(*facts)
        except OSError as error:
            hooks.remove(hook)
            log.warning("%s shows nothing more: %s; training goes on", type(hook).__name__, reason(error))
