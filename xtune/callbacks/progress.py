"""What a person sees of a run: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from xtune import terminal
from xtune.callbacks.callback import Callback, RunFacts, figures, spoken
from xtune.data.report import Report
from xtune.text import visible

LINE_EVERY = 10.0
"""Seconds between two plain lines."""


class ProgressCallback(Callback):
    """Loss, learning rate, tokens a second, memory and the time left."""

    always: ClassVar[bool] = True

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        self._given = console
        self.bar: Progress | None = None

    def started(self, facts: RunFacts) -> None:
        self.facts = facts
        self.console = self._given or terminal.console()
        self._printed = float("-inf")
        self._seconds = 0.0
        self._steps = 0
        self.console.print(Report.from_json(facts.about["data"]["report"]).table())
        self.console.print(facts.about["summary"])
        if self.console.is_terminal:
            self.bar = Progress(
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.description}"),
                TimeRemainingColumn(compact=True, elapsed_when_finished=True),
                console=self.console,
                expand=True,
            )
            self.task = self.bar.add_task("starting", total=facts.last_step, completed=facts.first_step)
            self.bar.start()

    def stepped(self, row: dict[str, Any]) -> None:
        self._seconds += row["seconds"]
        self._steps += 1
        metrics = "".join(f"{spoken(name)} {row[name]:.3f}  " for name in self.facts.objective.metrics)
        text = (
            f"loss {row['loss']:.4f}  {metrics}lr {row['lr']:.2e}  "
            f"{row['tokens'] / max(row['seconds'], 1e-9):,.0f} tokens/s  {row['memory_gib']:.1f} GiB"
        )
        if self.bar is not None:
            self.bar.update(self.task, completed=row["step"], description=text)
            return
        last = row["step"] == self.facts.last_step
        if last or time.monotonic() - self._printed >= LINE_EVERY:
            self._printed = time.monotonic()
            left = self._seconds / self._steps * (self.facts.last_step - row["step"])
            self.console.print(f"step {row['step']}/{self.facts.last_step}  {text}  {clock(left)} left")

    def evaluated(self, row: dict[str, Any]) -> None:
        found = figures(row, self.facts.objective)
        shown = [f"loss {row['loss']:.4f}", *(f"{spoken(name)} {value:.2f}" for name, value in found.items())]
        self.console.print(f"evaluation after step {row['step']}: {', '.join(shown)}")

    def answered(self, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        text = Text()
        for number, row in enumerate(rows):
            text.append("\n" if number else "")
            text.append(visible(f"{row['prompt']}\n"), style="bold")
            text.append(visible(f"{row['answer'] or '(nothing)'}\n"))
        text.rstrip()
        if self.console.is_terminal:
            self.console.print(Panel(text, title=f"answers after step {rows[0]['step']}", title_align="left"))
        else:
            self.console.print(f"answers after step {rows[0]['step']}:", text, sep="\n")

    def chosen(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            share = f"{row['accuracy']:.1%} of {row['questions']:,} questions right"
            left = f" ({row['too_long']:,} too long to ask)" if row["too_long"] else ""
            self.console.print(f"{row['name']} after step {row['step']}: {share}{left}")

    def ended(self, reason: str) -> None:
        if self.bar is not None:
            self.bar.stop()


def clock(seconds: float) -> str:
    """3725 -> 1:02:05."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
