"""Curves of a run, as PNG files and as SVG for the report."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

T = TypeVar("T")
Rows = list[dict[str, Any]]

INK, FAINT, ACCENT, SECOND = "#24292f", "#d0d7de", "#0969da", "#bc4c00"
STYLE = {
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "xtune",  # the same curve gives the same bytes
    "font.family": ["DejaVu Sans", "sans-serif"],
}
SMALL = (("lr", "learning rate"), ("grad_norm", "gradient norm"), ("tokens_per_second", "tokens per second"))


def styled(draw: Callable[..., T]) -> Callable[..., T]:
    """Runs `draw` with our STYLE, and leaves matplotlib's settings as they were."""

    @wraps(draw)
    def run(*args: Any) -> T:
        from matplotlib import rc_context

        with rc_context(STYLE):
            return draw(*args)

    return run


def smooth(values: list[float], weight: float) -> list[float]:
    """Exponential moving average, corrected for its start."""
    result, average = [], 0.0
    for count, value in enumerate(values, start=1):
        average = weight * average + (1 - weight) * value
        result.append(average / (1 - weight**count))
    return result


@styled
def save_loss(metrics: Rows, evaluations: Rows, name: str, path: Path) -> None:
    """Writes the loss curve as a PNG file."""
    figure = _figure(7.5, 4.0)
    _draw_loss(figure.subplots(), metrics, evaluations, name)
    figure.savefig(path, format="png", dpi=150)


@styled
def loss_svg(metrics: Rows, evaluations: Rows, name: str) -> str:
    figure = _figure(9.0, 3.6)
    _draw_loss(figure.subplots(), metrics, evaluations, name)
    return _svg(figure)


@styled
def small_svg(metrics: Rows, names: Sequence[str] = ()) -> str:
    """The metrics of these names, then learning rate, gradient norm and speed, three in a row."""
    plots = [*((name, name.replace("_", " ")) for name in names), *SMALL]
    lines = math.ceil(len(plots) / len(SMALL))
    figure = _figure(9.0, 2.2 * lines)
    rows = [{**row, "tokens_per_second": row["tokens"] / max(row["seconds"], 1e-9)} for row in metrics]
    for place, (name, title) in enumerate(plots, start=1):
        axes = figure.add_subplot(lines, len(SMALL), place)
        axes.plot([row["step"] for row in rows], [row[name] for row in rows], color=ACCENT, linewidth=1.1)
        axes.set_title(title, loc="left", fontsize=9)
        if name not in names:
            axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        _whole_steps(axes)
    return _svg(figure)


def _draw_loss(axes: Axes, metrics: Rows, evaluations: Rows, name: str) -> None:
    steps, losses = [row["step"] for row in metrics], [row["loss"] for row in metrics]
    long = len(losses) >= 20
    axes.plot(
        steps, losses, color=ACCENT, linewidth=1.2, alpha=0.3 if long else 1.0, label=None if long else "training"
    )
    if long:
        axes.plot(steps, smooth(losses, 0.9), color=ACCENT, linewidth=1.8, label="training, smoothed")
    if evaluations:
        axes.plot(
            [row["step"] for row in evaluations],
            [row["loss"] for row in evaluations],
            color=SECOND,
            marker="o",
            markersize=4,
            linewidth=1.2,
            label="held out",
        )
    axes.set_xlabel("step")
    axes.set_ylabel(name)
    axes.grid(axis="y")
    axes.legend(frameon=False, loc="best")
    _whole_steps(axes)


def _whole_steps(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
