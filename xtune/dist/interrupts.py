"""Ctrl-C, SIGTERM and SIGHUP: heard at once, whatever the main thread is busy with.

Python runs a handler only between two of its own instructions, and a backward pass may be a minute of C++. So a thread
listens too: it calls `heard` of the handler that stands at that moment, and Python calls the handler itself later.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import Any

from xtune import atomic
from xtune.dist import ranks

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
PATIENCE = 3.0
"""Seconds that a process has to clean up after a signal that ends it."""


class Stopped(KeyboardInterrupt):
    """A signal that ended the process before there was anything to save, or the second one. `code` is its exit code."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = signal.Signals(number)
        self.code = exit_code(self.number.name)


class Interrupted(Exception):
    """An evaluation was broken off, for the run has to stop."""


def exit_code(reason: str) -> int:
    """The exit code of a run that ended for `reason`: that of the signal, where it is the name of one; else 0."""
    return 128 + signal.Signals[reason] if reason in signal.Signals.__members__ else 0


class Once:
    """A line that is printed once, by the thread that hears a signal or by the handler, whoever is first."""

    def __init__(self) -> None:
        self._left = [True]

    def say(self, text: str) -> None:
        if self._left and self._left.pop():  # no lock: a handler may come in the middle of itself
            say(text)


class StopNow:
    """The handler of a command: says so, and ends the process, which has PATIENCE to clean up."""

    def __init__(self) -> None:
        self._line = Once()

    def heard(self, number: int) -> None:
        self._line.say(f"xtune: stopped by {signal.Signals(number).name}")
        end_soon(number)

    def __call__(self, number: int, _: FrameType | None) -> None:
        self._line.say(f"xtune: stopped by {signal.Signals(number).name}")
        raise Stopped(number)


class Interrupts:
    """Inside the context, the first signal sets `wanted` to its name; a second one ends the run at once.

    It is a wish that the loop fulfils between two steps.
    """

    def __init__(self) -> None:
        self.wanted: str | None = None
        self._heard = 0
        self._first, self._last = Once(), Once()
        self._ends_process = False
        """Whether a command runs here, whose process may end in the middle of anything."""
        self._stack = ExitStack()

    def __enter__(self) -> Interrupts:
        before = self._stack.enter_context(handlers(self))
        self._ends_process = isinstance(before.get(signal.SIGINT), StopNow)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def agreed(self) -> str | None:
        """The name of the signal that any rank got. All ranks call it together."""
        (wanted,) = ranks.sums(self.wanted is not None)
        return next(name for name in ranks.gather(self.wanted) if name) if wanted else None

    def check(self) -> None:
        """Raises Interrupted where any rank got a signal. All ranks call it together."""
        if self.agreed():
            raise Interrupted

    def heard(self, number: int) -> None:
        self._heard += 1
        self._answer(number, again=self._heard > 1)
        if self._heard > 1 and self._ends_process:
            end_soon(number)

    def __call__(self, number: int, _: FrameType | None) -> None:
        again = self.wanted is not None
        self.wanted = self.wanted or signal.Signals(number).name
        self._answer(number, again=again)
        if again:
            raise Stopped(number)

    def _answer(self, number: int, *, again: bool) -> None:
        name = signal.Signals(number).name
        if again:
            self._last.say(f"xtune: stopped by {name}")
        else:
            more = "Ctrl-C again stops at once, and what came after the last checkpoint is lost"
            self._first.say(f"{name}: the run stops after this step and writes a checkpoint; {more}")


@contextmanager
def handlers(handler: Any) -> Iterator[dict[int, Any]]:
    """Handles SIGNALS with `handler`, and what was there before at the end. SIGHUP stays ignored where nohup says so.

    Does nothing but in the main thread: Python takes handlers nowhere else.
    """
    before: dict[int, Any] = {}
    if threading.current_thread() is not threading.main_thread():
        yield before
        return
    with listening():
        for number in SIGNALS:
            if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
        try:
            yield before
        finally:
            for number, previous in before.items():
                signal.signal(number, previous)


@contextmanager
def listening() -> Iterator[None]:
    """A thread that hears signals at once. Where somebody listens already (another of us, asyncio), nothing."""
    others = signal.set_wakeup_fd(-1)
    if others != -1:
        signal.set_wakeup_fd(others, warn_on_full_buffer=False)
        yield
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(read,), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        os.close(write)  # which ends the thread


def _listen(pipe: int) -> None:
    while numbers := os.read(pipe, 1):
        handler = signal.getsignal(numbers[0])
        if isinstance(handler, (StopNow, Interrupts)):
            handler.heard(numbers[0])
    os.close(pipe)


def say(text: str) -> None:
    """A line on stderr, of the first rank of each machine alone."""
    if os.environ.get("SLURM_LOCALID", os.environ.get("LOCAL_RANK", "0")) == "0":
        try:
            print(text, file=sys.stderr, flush=True)
        except RuntimeError:  # the signal came in the middle of another line
            os.write(2, f"{text}\n".encode())
        except OSError:
            return  # the terminal is gone: that may be what the signal said


def end_soon(number: int) -> None:
    """Ends the process after PATIENCE, should it be busy in code that no exception reaches."""
    time.sleep(PATIENCE)
    atomic.abandon()
    os._exit(exit_code(signal.Signals(number).name))
