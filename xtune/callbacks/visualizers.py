"""TensorBoard and the other backends that mmengine has."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from xtune.callbacks.callback import Callback, RunFacts, figures
from xtune.errors import ConfigError, UnknownName
from xtune.foreign import foreign

SHOWN = ("loss", "lr", "grad_norm", "tokens", "memory_gib")


class Visualizer(Callback):
    """Sends the numbers of steps and evaluations to a tracker: TensorBoard, Weights & Biases, MLflow and others."""

    subject: ClassVar[str] = "visualizers"

    backend: str = Field(default="TensorboardVisBackend", description="class of mmengine.visualization")
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="what that class takes, such as init_kwargs of WandbVisBackend"
    )

    def check(self) -> None:
        self._kind()

    def started(self, facts: RunFacts) -> None:
        self.facts = facts
        folder = facts.work_dir / "visualizers"
        for path in folder.rglob("*"):
            if path.is_symlink() and not path.is_dir():  # a backend would write to what it points to
                path.unlink()
        hint = "check its arguments, or take it out of visualizers"
        with foreign(f"visualizer {self.backend} cannot start", ConfigError, hint):
            self.tracker = self._kind()(**{"save_dir": str(folder), **self.arguments})
            _ = self.tracker.experiment  # makes the connection, or says which package is missing

    def stepped(self, row: dict[str, Any]) -> None:
        self._send({f"train/{name}": row[name] for name in (*SHOWN, *self.facts.objective.metrics)}, row["step"])

    def evaluated(self, row: dict[str, Any]) -> None:
        shown = {"loss": row["loss"], **figures(row, self.facts.objective)}
        self._send({f"evaluation/{name}": value for name, value in shown.items()}, row["step"])

    def chosen(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            self._send({f"choices/{row['name']}": row["accuracy"]}, row["step"])

    def _send(self, values: dict[str, float], step: int) -> None:
        self.tracker.add_scalars(dict(values), step=step)

    def ended(self, reason: str) -> None:
        self.tracker.close()

    def _kind(self) -> Any:
        """The backend's class. Raises UnknownName."""
        from mmengine import visualization

        known = [name for name in dir(visualization) if name.endswith("VisBackend") and name != "BaseVisBackend"]
        if self.backend not in known:
            raise UnknownName("visualizer", self.backend, known)
        return getattr(visualization, self.backend)
