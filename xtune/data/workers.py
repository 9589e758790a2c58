"""Mapped rows -> encoded ones, by threads or processes: reading, rendering and encoding go on side by side."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context, parent_process
from threading import Lock

from xtune.conversation import Row
from xtune.data.feed import Mapped
from xtune.dist.parent import dies_with
from xtune.encoding.encoder import PLAIN, Encoded, Encoder, Recipe
from xtune.environment import variable
from xtune.errors import DataError
from xtune.sources.row import well_formed

MOST_THREADS = 8  # Python's share of the work, a sixth, is done by one of them at a time: more than six hardly help
COLLECT_AFTER = 100_000  # objects made and not yet freed: more than a few batches are


Results = list[Encoded | DataError]


def encode_all(
    batches: Iterable[list[Mapped]], encoder: Encoder, recipe: Recipe = PLAIN
) -> Generator[tuple[list[Mapped], Results], None, None]:
    """Batches with what became of their rows, in order. Workers end when it does, or when it is closed."""
    waiting: deque[tuple[list[Mapped], Future[Results]]] = deque()
    with _quick_process(), _workers(encoder, recipe) as (submit, most):
        for batch in batches:
            waiting.append((batch, submit(batch)))
            if len(waiting) > most:
                done, future = waiting.popleft()
                yield done, future.result()
        for done, future in waiting:
            yield done, future.result()


@contextmanager
def _workers(encoder: Encoder, recipe: Recipe) -> Iterator[tuple[Callable[[list[Mapped]], Future[Results]], int]]:
    """How to hand a batch to a worker, and how many may be under way: threads, for Rust lets go of the interpreter's
    lock.

    A tokenizer written in Python does not; it gets a process a core, where forking is safe.
    """
    if getattr(encoder.tokenizer, "is_fast", True) or sys.platform != "linux":
        count = _rust_threads()
        with ThreadPoolExecutor(count) as threads:
            yield lambda batch: threads.submit(_encode_batch, encoder, recipe, batch), 2 * count
        return
    count = _cores()
    with ProcessPoolExecutor(count, get_context("fork"), _start_worker, (encoder, recipe)) as processes:
        yield lambda batch: processes.submit(_encode_in_worker, batch), 2 * count


def _rust_threads() -> int:
    """As many as the variable says that Rust's thread pools go by, or one a core."""
    wanted = os.environ.get("RAYON_NUM_THREADS", "")
    return (int(wanted) if wanted.isdecimal() else 0) or min(_cores(), MOST_THREADS)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


_LOCK = Lock()
_SETTINGS = ExitStack()  # of _quick_process, to be undone
_preparing = 0  # how many prepare data just now


@contextmanager
def _quick_process() -> Iterator[None]:
    """Settings of the whole process, until the last of those that prepare data at the same time has ended.

    A call of a Rust tokenizer works in the thread that makes it: its own would wait for each other at the end of every
    call, and leave memory that another thread frees. And Python's garbage collector, which walks all objects there are,
    is kept from doing so for every few batches: that took a tenth of Python's time.
    """
    global _preparing
    with _LOCK:
        _preparing += 1
        if _preparing == 1:
            _SETTINGS.enter_context(variable("TOKENIZERS_PARALLELISM", "false"))  # Rust looks it up in each call
            _SETTINGS.callback(gc.set_threshold, *gc.get_threshold())
            first, *others = gc.get_threshold()
            if first:  # else it is off
                gc.set_threshold(max(first, COLLECT_AFTER), *others)
    try:
        yield
    finally:
        with _LOCK:
            _preparing -= 1
            if not _preparing:
                _SETTINGS.close()


_OF_WORKER: list[tuple[Encoder, Recipe]] = []  # in a worker process, encoder and recipe: sent once, not with each batch


def _start_worker(encoder: Encoder, recipe: Recipe) -> None:
    parent = parent_process()
    if parent is not None and parent.pid and (call := dies_with(parent.pid)):
        call()  # the pool cannot end its workers where the parent is killed by SIGKILL
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends the pool
    _OF_WORKER[:] = [(encoder, recipe)]


def _encode_in_worker(batch: list[Mapped]) -> Results:
    return _encode_batch(*_OF_WORKER[0], batch)


def _encode_batch(encoder: Encoder, recipe: Recipe, batch: list[Mapped]) -> Results:
    """All in one call; where that fails, one by one, so that only the row at fault is lost."""
    try:
        return list(recipe.examples([one.row for one in batch], encoder))
    except Exception:  # what a tokenizer raises for text it cannot take depends on what it is written in
        return [_encode_one(encoder, recipe, one.row, one.where) for one in batch]


def _encode_one(encoder: Encoder, recipe: Recipe, row: Row, where: str) -> Encoded | DataError:
    """The DataError of a row that cannot be encoded is its result, unless the policy is to stop at it."""
    for turn in (turn for part in row.parts for turn in part.turns):
        if not isinstance(turn.text, str) or not well_formed(turn.text):
            return DataError(
                f"a turn's text is not well-formed Unicode: got {turn.text!r:.60}",
                "remove the characters that cannot be encoded",
            )
    try:
        return recipe.examples([row], encoder)[0]
    except DataError as error:
        if encoder.too_long == "error":
            raise DataError(f"{where}: {error.fact}", error.hint) from error
        return error
