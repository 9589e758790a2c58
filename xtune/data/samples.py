"""Samples on disk: one Arrow file, written once and mapped into memory."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xtune.conversation import IGNORE, Tokens

if TYPE_CHECKING:
    from collections.abc import Sequence


SAMPLES = "samples.arrow"


NUMBER = "number "  # before the names of numbers


class SampleWriter:
    """Appends samples to an Arrow file: columns ids (list of int32), learn (list of uint8, 1 where trained), where.

    A context manager. Memory holds one batch.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        lists = {"ids": pa.list_(pa.int32()), "learn": pa.list_(pa.uint8())}
        self._schema = pa.schema({**lists, "where": pa.string()})
        self._digests = [hashlib.sha256() for _ in range(3)]
        self._file = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._file, self._schema)

    def __enter__(self) -> SampleWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        self._file.close()

    def write(self, samples: Sequence[Tokens], where: Sequence[str]) -> np.ndarray:
        """Appends samples, at least one and none empty; returns how many labels each has, int64 (samples,).

        The first position of a sample is stored as not trained on, for in a pack another sample stands before it.
        """
        ids, labels = zip(*samples, strict=True)
        starts = starts_of(ids)
        learn = np.concatenate(labels) != IGNORE
        learn[starts[:-1]] = False
        columns = np.concatenate(ids), learn.view(np.uint8)
        for digest, part in zip(self._digests, (np.diff(starts).astype(np.int32), *columns), strict=True):
            digest.update(part.tobytes())
        self._write(starts, *columns, [place.encode() for place in where])
        return np.add.reduceat(learn, starts[:-1], dtype=np.int64)

    @property
    def digest(self) -> str:
        """Of the lengths, ids and labels written so far, whatever the places of their rows are called."""
        return hashlib.sha256(b"".join(digest.digest() for digest in self._digests)).hexdigest()

    def _write(self, starts: np.ndarray, ids: np.ndarray, learn: np.ndarray, where: list[bytes]) -> None:
        """Writes a batch from its bytes: pyarrow's conversions of numpy arrays and lists first import all of pandas."""
        import pyarrow as pa

        def buffers(starts: np.ndarray) -> list[Any]:
            return [None, pa.py_buffer(starts.astype(np.int32))]

        columns = []
        for column, kind in ((ids, pa.int32()), (learn, pa.uint8())):
            values = pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(column)])
            columns.append(pa.Array.from_buffers(pa.list_(kind), len(where), buffers(starts), children=[values]))
        text = [*buffers(starts_of(where)), pa.py_buffer(b"".join(where))]
        columns.append(pa.Array.from_buffers(pa.string(), len(where), text))
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))


def starts_of(parts: Sequence[Any]) -> np.ndarray:
    """Where each of several parts begins when they lie one after another, and where the last ends."""
    return np.concatenate([[0], np.cumsum([len(part) for part in parts])])


class Samples:
    """The samples of a file that SampleWriter wrote, in its order. Opening it maps the file; nothing is read."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self.path = path
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        self._batches = []
        self._first = [0]
        for number in range(reader.num_record_batches):
            ids, learn, where = reader.get_batch(number).columns
            starts = np.frombuffer(ids.buffers()[1], np.int32, len(ids) + 1)
            values = [
                np.frombuffer(column.buffers()[3], kind, starts[-1])
                for column, kind in ((ids, np.int32), (learn, np.uint8))
            ]
            self._batches.append((starts, *values, where))
            self._first.append(self._first[-1] + len(ids))

    def __reduce__(self) -> tuple[Any, ...]:  # a worker process maps the file itself
        return Samples, (self.path,)

    def __len__(self) -> int:
        return self._first[-1]

    def __getitem__(self, sample: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and labels, int32 (T,)."""
        (starts, ids, learn, _), at = self._locate(sample)
        part = slice(starts[at], starts[at + 1])
        return ids[part], np.where(learn[part], ids[part], np.int32(IGNORE))

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each sample, int32 (samples,)."""
        return np.concatenate([np.diff(starts) for starts, *_ in self._batches])

    def first_beyond(self, limit: int) -> tuple[int, int] | None:
        """The first sample with an id of `limit` or more, and that id."""
        for first, (starts, ids, *_) in zip(self._first, self._batches, strict=False):
            if (places := np.flatnonzero(ids >= limit)).size:
                at = int(places[0])
                return first + int(np.searchsorted(starts, at, side="right")) - 1, int(ids[at])
        return None

    def where(self, sample: int) -> str:
        """The place of the row that the sample was made of, such as "medicine.xlsx, sheet Main, row 12"."""
        batch, at = self._locate(sample)
        return str(batch[3][at])

    def _locate(self, sample: int) -> tuple[tuple[Any, ...], int]:
        if not 0 <= sample < len(self):
            raise IndexError(f"sample {sample} of {len(self)}")
        number = int(np.searchsorted(self._first, sample, side="right")) - 1
        return self._batches[number], sample - self._first[number]
