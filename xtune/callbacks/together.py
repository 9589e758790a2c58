"""Several callbacks as one, of which none can stop a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from xtune.callbacks.callback import Callback, RunFacts
from xtune.errors import ConfigError, XtuneError
from xtune.foreign import foreign, reason

log = logging.getLogger(__name__)


class Together(Callback):
    """Passes each event on to `callbacks`, in their order.

    One that fails is named in the log and left out from then on: a full disk, a closed terminal or a fault costs what
    is shown, not the run. But a fault at the start, where nothing is lost yet, is raised as an XtuneError.
    """

    def __init__(self, callbacks: Sequence[Callback] = ()) -> None:
        super().__init__()
        self._waiting = list(callbacks)
        self._running: list[Callback] = []

    def run(self, facts: RunFacts, run: Callable[[], str]) -> str:
        """Starts all, runs, and ends those that were started, however the run ends."""
        reason = "an error"
        try:
            self.started(facts)
            reason = run()
        finally:
            self.ended(reason)
        return reason

    def check(self) -> None:
        for callback in self._waiting:
            callback.check()

    def started(self, facts: RunFacts) -> None:
        for callback in self._waiting:
            what = f"callback {_name(callback)} cannot start"
            try:
                with foreign(what, ConfigError, "leave it out of the config"):
                    callback.started(facts)
                self._running.append(callback)
            except XtuneError as error:
                if not isinstance(error.__cause__, OSError):
                    raise
                self._leave_out(callback, reason(error.__cause__))

    def stepped(self, row: dict[str, Any]) -> None:
        self._pass_on("stepped", row)

    def evaluated(self, row: dict[str, Any]) -> None:
        self._pass_on("evaluated", row)

    def answered(self, rows: list[dict[str, Any]]) -> None:
        self._pass_on("answered", rows)

    def chosen(self, rows: list[dict[str, Any]]) -> None:
        self._pass_on("chosen", rows)

    def saved(self, step: int, folder: Path) -> None:
        self._pass_on("saved", step, folder)

    def ended(self, reason: str) -> None:
        self._pass_on("ended", reason)

    def _pass_on(self, event: str, *given: Any) -> None:
        for callback in list(self._running):
            try:
                getattr(callback, event)(*given)
            except KeyboardInterrupt:
                raise
            except OSError as error:
                self._leave_out(callback, reason(error))
            except BaseException as error:
                log.debug("the fault of callback %s", _name(callback), exc_info=True)
                self._leave_out(callback, f"{event}: {reason(error)}")

    def _leave_out(self, callback: Callback, problem: str) -> None:
        if callback in self._running:
            self._running.remove(callback)
        log.warning("%s shows nothing more: %s; training goes on", _name(callback), problem)


def _name(callback: Callback) -> str:
    return type(callback).__name__
