"""The rows of a run: in memory, in every checkpoint, and as JSON lines on disk for other programs to read."""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from xtune.atomic import whole_file
from xtune.errors import CheckpointError
from xtune.foreign import foreign, reason

log = logging.getLogger(__name__)

FOLDER = "journals"
"""Of a checkpoint: what the journals held at its step."""
CLOSED_TO_LINKS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)


class Journal:
    """Rows, each with a "step", and a file of one JSON object a line that is made with the first. Only rank 0 writes.

    What is in memory counts. A disk that refuses costs no row: the file gets it when there is room again.
    """

    def __init__(self, path: Path, kept: bytes = b"", *, write: bool = True) -> None:
        """Begins with the lines `kept`, whatever the file held. Raises CheckpointError for lines that are no rows."""
        self.path = path
        self.text = bytearray(kept if write else b"")
        self.rows = _rows(kept, path.name)
        self._write = write
        self._handle: int | None = None
        self._written = len(self.text)
        self._refused = False
        if self.text:
            with whole_file(path) as beside:
                beside.write_bytes(kept)
        elif write:
            path.unlink(missing_ok=True)

    def append(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if not self._write:
            return
        self.text += _line(row)
        try:
            self._catch_up()
        except OSError as error:
            if not self._refused:
                log.warning("`%s` cannot be written: %s; training goes on, its rows are kept", self.path, reason(error))
            self._refused = True

    def _catch_up(self) -> None:
        """Writes what is not in the file yet. After an error, the file ends with a whole line."""
        if self._written == len(self.text):
            return
        if self._handle is None:
            self._handle = os.open(self.path, CLOSED_TO_LINKS, 0o666)
        try:
            while self._written < len(self.text):
                self._written += os.write(self._handle, self.text[self._written :])
        except OSError:
            self._written = self.text.rfind(b"\n", 0, self._written) + 1
            os.ftruncate(self._handle, self._written)
            raise

    def sync(self) -> None:
        """Makes sure that what was appended survives a loss of power. Raises OSError."""
        self._catch_up()
        if self._handle is not None:
            os.fsync(self._handle)

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


class Journals(NamedTuple):
    """The journals of a run."""

    metrics: Journal
    evaluations: Journal
    answers: Journal
    choices: Journal

    @classmethod
    @contextmanager
    def opened(cls, work_dir: Path, *, source: Path | None = None, write: bool = True) -> Iterator[Journals]:
        """The journals of `work_dir` as the checkpoint `source` holds them, closed at the end of the context.

        Raises CheckpointError where they cannot be read from there, or written.
        """
        journals = []
        try:
            for name in cls._fields:
                path = work_dir / f"{name}.jsonl"
                kept = _kept(source, path, say=write)
                journals.append(Journal(path, kept, write=write))
        except OSError as error:
            raise CheckpointError(
                f"`{path}` cannot be taken up: {reason(error)}",
                "make room or rights there, or choose another --work-dir",
            ) from error
        try:
            yield cls(*journals)
        finally:
            for journal in journals:
                journal.close()


def _kept(source: Path | None, path: Path, *, say: bool) -> bytes:
    """The lines of a journal in the checkpoint `source`; where the file of the same run lacks any of them, says so."""
    if source is None:
        return b""
    stored = source / FOLDER / path.name
    kept = stored.read_bytes() if stored.exists() else b""
    ours = source.resolve().parent.parent == path.parent.resolve()
    if say and ours and _content(path, len(kept)) != kept:
        log.warning("`%s` was changed since `%s`: its rows are taken from there", path.name, source.name)
    return kept


def _content(path: Path, length: int) -> bytes | None:
    """The beginning of a file; None where it is none that could have been written here."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return None
        with path.open("rb") as file:
            return file.read(length)
    except FileNotFoundError:
        return b""


def _rows(kept: bytes, name: str) -> list[dict[str, Any]]:
    with foreign(f"the checkpoint's {name} is damaged", CheckpointError, "give another checkpoint"):
        rows = [json.loads(line) for line in kept.splitlines()]
        if not all(isinstance(row["step"], int) for row in rows):
            raise ValueError("a row has no step")
        return rows


def _line(row: dict[str, Any]) -> bytes:
    return (json.dumps(row, ensure_ascii=False) + "\n").encode()
