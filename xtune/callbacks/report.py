"""At the end of a run: loss.png, and report.html, which needs nothing beside it."""

from __future__ import annotations

import logging
from html import escape
from pathlib import Path
from string import Template
from typing import Any, ClassVar

from xtune.atomic import whole_file
from xtune.callbacks.callback import Callback, RunFacts, figures, spoken
from xtune.callbacks.plot import Rows, loss_svg, save_loss, small_svg
from xtune.callbacks.progress import clock
from xtune.config.write import dump
from xtune.data.report import Report

log = logging.getLogger(__name__)

PAGE = Path(__file__).with_name("report.html")


class ReportCallback(Callback):
    """Writes loss.png and report.html when the run ends, also when it was stopped."""

    always: ClassVar[bool] = True

    def started(self, facts: RunFacts) -> None:
        self.facts = facts

    def ended(self, reason: str) -> None:
        facts = self.facts
        if not facts.metrics:
            return
        try:
            with whole_file(facts.work_dir / "loss.png") as beside:
                save_loss(facts.metrics, facts.evaluations, facts.objective.loss_name, beside)
            with whole_file(facts.work_dir / "report.html") as beside:
                beside.write_text(render_report(facts, reason), encoding="utf-8")
        except OSError as error:  # what was trained is safe; only its picture is not
            log.warning("the report cannot be written to %s: %s", facts.work_dir, error.strerror)


def render_report(facts: RunFacts, reason: str) -> str:
    """The report's HTML."""
    about, config = facts.about, facts.about["config"]
    plugins = [f"{name} {version}" for name, version in about["plugins"].items()]
    made_with = [*about["versions"].items(), ("plugins", ", ".join(plugins) or "none")]
    return Template(PAGE.read_text(encoding="utf-8")).substitute(
        title=escape(facts.work_dir.name),
        subtitle=escape(
            f"{config['model']['name']}, {config['tuning']['name']}, {about['device']}"
            f"{'' if about['ranks'] == 1 else ', ' + str(about['ranks']) + ' ranks'}. "
            f"Step {facts.metrics[-1]['step']} of {facts.last_step}: {reason}."
        ),
        tiles="".join(f"<div class='tile'><b>{value}</b><span>{name}</span></div>" for name, value in tiles(facts)),
        loss=loss_svg(facts.metrics, facts.evaluations, facts.objective.loss_name),
        small=small_svg(facts.metrics, facts.objective.metrics),
        answers=choices_html(facts.choices) + answers_html(facts.answers),
        data=data_html(Report.from_json(about["data"]["report"])),
        config=escape(dump(config)),
        versions="".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in made_with),
    )


def tiles(facts: RunFacts) -> list[tuple[str, str]]:
    """The figures that one looks for first."""
    metrics, evaluations = facts.metrics, facts.evaluations
    seconds = sum(row["seconds"] for row in metrics)
    tokens = sum(row["tokens"] for row in metrics)
    found = [("first loss", f"{metrics[0]['loss']:.3f}"), ("last loss", f"{metrics[-1]['loss']:.3f}")]
    if evaluations:
        best = min(evaluations, key=lambda row: row["loss"])
        found += [
            (f"best held-out loss, step {best['step']}", f"{best['loss']:.3f}"),
            *((f"its {spoken(name)}", f"{value:.2f}") for name, value in figures(best, facts.objective).items()),
        ]
    return [
        *found,
        ("tokens", f"{tokens:,}"),
        ("tokens a second", f"{tokens / max(seconds, 1e-9):,.0f}"),
        ("time in steps", clock(seconds)),
        ("peak memory", f"{max(row['memory_gib'] for row in metrics):.1f} GiB"),
    ]


def choices_html(choices: Rows) -> str:
    """The accuracy on each set of questions over the steps."""
    parts = ["<h2>Multiple choice</h2>"] if choices else []
    for name in dict.fromkeys(row["name"] for row in choices):
        rows = "".join(
            f"<tr><th>step {row['step']}</th><td class='number'>{row['accuracy']:.1%}</td>"
            f"<td class='dim'>{row['right']:,} of {row['questions']:,}</td></tr>"
            for row in choices
            if row["name"] == name
        )
        parts.append(f"<p class='prompt'>{escape(name)}</p><table>{rows}</table>")
    return "\n".join(parts)


def answers_html(answers: Rows) -> str:
    """Each prompt with its answers over the steps."""
    parts = ["<h2>Answers</h2>"] if answers else []
    for prompt in dict.fromkeys(row["prompt"] for row in answers):
        rows = "".join(
            f"<tr><th>step {row['step']}</th><td class='text'>{escape(row['answer'])}</td></tr>"
            for row in answers
            if row["prompt"] == prompt
        )
        parts.append(f"<p class='prompt'>{escape(prompt)}</p><table>{rows}</table>")
    return "\n".join(parts)


def data_html(report: Any) -> str:
    return "".join(
        f"<tr><th>{escape(what)}</th><td class='number'>{count}</td><td class='dim'>{escape(remark)}</td></tr>"
        for what, count, remark in report.lines()
    )
