"""JSON lines on disk that a run appends to and that go back with it to an earlier step."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from xtune.atomic import whole_file


class Journal:
    """A file of one JSON object a line, each with a "step"; made with the first. Only rank 0 writes."""

    def __init__(self, path: Path, *, keep_to: int = 0, write: bool = True) -> None:
        """Reads the lines up to step `keep_to` and drops those after it, and a last line that was cut off."""
        self.path = path
        self.rows: list[dict[str, Any]] = []
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() and keep_to else []
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                break
            if row["step"] > keep_to:
                break
            self.rows.append(row)
        self._write = write
        self._file: TextIO | None = None
        if write and path.is_file():
            with whole_file(path) as beside:
                beside.write_text("".join(_line(row) for row in self.rows), encoding="utf-8")

    def append(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if self._write:
            self._file = self._file or self.path.open("a", encoding="utf-8")
            self._file.write(_line(row))
            self._file.flush()

    def sync(self) -> None:
        """Makes sure that what was appended survives a loss of power, before a checkpoint relies on it."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class Journals(NamedTuple):
    """The journals of a run."""

    metrics: Journal
    evaluations: Journal
    answers: Journal
    choices: Journal

    @classmethod
    @contextmanager
    def opened(cls, work_dir: Path, *, keep_to: int, write: bool) -> Iterator[Journals]:
        """The journals of `work_dir`, back at step `keep_to`, closed at the end of the context."""
        journals = cls(*(Journal(work_dir / f"{name}.jsonl", keep_to=keep_to, write=write) for name in cls._fields))
        try:
            yield journals
        finally:
            for journal in journals:
                journal.close()


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
