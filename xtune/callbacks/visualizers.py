"""TensorBoard and the other backends that mmengine has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xtune.callbacks.callback import Hook, RunFacts, figures
from xtune.errors import ConfigError, UnknownName

SHOWN = ("loss", "lr", "grad_norm", "tokens", "memory_gib")


class VisualizerHook(Hook):
    """Sends each step's and each evaluation's numbers to mmengine's backends, by class name."""

    def __init__(self, names: Sequence[str]) -> None:
        from mmengine import visualization

        known = [name for name in dir(visualization) if name.endswith("VisBackend") and name != "BaseVisBackend"]
        for name in names:
            if name not in known:
                raise UnknownName("visualizer", name, known)
        self.kinds = [getattr(visualization, name) for name in names]

    def started(self, facts: RunFacts) -> None:
        self.facts = facts
        self.backends = []
        folder = facts.work_dir / "visualizers"
        for path in folder.rglob("*"):
            if path.is_symlink() and not path.is_dir():  # a backend would write to what it points to
                path.unlink()
        for kind in self.kinds:
            backend = kind(save_dir=str(folder))
            try:
                _ = backend.experiment  # makes the connection, or says which package is missing
            except ImportError as error:
                raise ConfigError(f"visualizer {kind.__name__} cannot start: {' '.join(str(error).split())}") from error
            self.backends.append(backend)

    def stepped(self, row: dict[str, Any]) -> None:
        self._send({f"train/{name}": row[name] for name in (*SHOWN, *self.facts.objective.metrics)}, row["step"])

    def evaluated(self, row: dict[str, Any]) -> None:
        shown = {"loss": row["loss"], **figures(row, self.facts.objective)}
        self._send({f"evaluation/{name}": value for name, value in shown.items()}, row["step"])

    def chosen(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            self._send({f"choices/{row['name']}": row["accuracy"]}, row["step"])

    def _send(self, values: dict[str, float], step: int) -> None:
        for backend in self.backends:
            backend.add_scalars(dict(values), step=step)

    def ended(self, reason: str) -> None:
        for backend in self.backends:
            backend.close()
