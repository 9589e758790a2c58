"""What watches a run: progress, plots and the report, trackers."""

from __future__ import annotations

from typing import Any

from xtune.plugins.hookspecs import hookimpl
from xtune.registry import Registry


@hookimpl
def register_callbacks(callbacks: Registry[Any]) -> None:
    from xtune.callbacks.progress import ProgressCallback
    from xtune.callbacks.report import ReportCallback
    from xtune.callbacks.visualizers import Visualizer

    callbacks.add("progress", ProgressCallback)
    callbacks.add("report", ReportCallback)
    callbacks.add("visualizer", Visualizer)
