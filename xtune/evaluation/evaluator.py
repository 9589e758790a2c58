"""What happens when an evaluation is due."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from xtune.callbacks.callback import Callback
from xtune.checkpoints.journal import Journal
from xtune.evaluation.held_out import evaluations_without_gain


class Verdict(NamedTuple):
    """What an evaluation asks of the loop."""

    stop: bool = False
    save: bool = False


@dataclass
class Evaluator:
    """Measures and asks, writes both to the journals, and says when to stop and when the best checkpoint is due.

    Its memory is the journal, so a resumed run stops where an uninterrupted one would.
    """

    evaluations: Journal
    answers: Journal
    measure: Callable[[], dict[str, Any]] | None
    """The row of an evaluation, where there is something held out."""
    ask: Callable[[], list[dict[str, Any]]]
    """Prompts and answers."""
    choices: Journal
    choose: Callable[[], list[dict[str, Any]]]
    """The accuracy on each set of multiple-choice questions."""
    patience: int | None = None
    keep_best: bool = False
    callbacks: Callback = field(default_factory=Callback)

    def __call__(self, step: int) -> Verdict:
        """Evaluates. The journals get all of it at the end, or nothing where a signal breaks it off (Interrupted)."""
        answers = [{"step": step, **row} for row in self.ask()]
        self.callbacks.answered(answers)
        chosen = [{"step": step, **row} for row in self.choose()]
        self.callbacks.chosen(chosen)
        measured = [{"step": step, **self.measure()}] if self.measure is not None else []
        for journal, rows in ((self.answers, answers), (self.choices, chosen), (self.evaluations, measured)):
            for row in rows:
                journal.append(row)
        for row in measured:
            self.callbacks.evaluated(row)
        return self.verdict(step)

    def verdict(self, step: int) -> Verdict:
        """What the evaluations up to `step` ask for."""
        waited = evaluations_without_gain([row["loss"] for row in self.evaluations.rows])
        return Verdict(
            stop=self.patience is not None and waited >= self.patience,
            save=self.best is not None and self.best["step"] == step,
        )

    @property
    def best(self) -> dict[str, Any] | None:
        """Step and loss of the best evaluation after the start."""
        rows = [row for row in self.evaluations.rows if row["step"] > 0]
        if not (self.keep_best and rows):
            return None
        lowest = min(rows, key=lambda row: row["loss"])
        return {"step": lowest["step"], "loss": lowest["loss"]}
