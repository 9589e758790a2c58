"""Prepared data on disk: every sample once, in a memory-mapped Arrow file, and which samples each pack holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xtune.conversation import IGNORE, Tokens
from xtune.data.order import GROUPED, SHUFFLED, grouped_in_steps, shuffled
from xtune.data.pack import Layout, Pack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SAMPLES = "samples.arrow"
PACKS = "packs.npz"
SPLITS = ("train", "held_out")
NUMBER = "number "  # before the names of numbers


class SampleWriter:
    """Appends samples to an Arrow file: columns ids (list of int32), learn (list of uint8, 1 where learnt), where.

    A context manager. Memory holds one batch.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        lists = {"ids": pa.list_(pa.int32()), "learn": pa.list_(pa.uint8())}
        self._schema = pa.schema({**lists, "where": pa.string()})
        self._file = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._file, self._schema)

    def __enter__(self) -> SampleWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        self._file.close()

    def write(self, samples: Sequence[Tokens], where: Sequence[str]) -> np.ndarray:
        """Appends samples, at least one and none empty; returns how many labels of each are learnt, int64 (samples,).

        The first position of a sample is stored as not learnt, for in a pack another sample stands before it.
        """
        ids, labels = zip(*samples, strict=True)
        starts = _starts(ids)
        learn = np.concatenate(labels) != IGNORE
        learn[starts[:-1]] = False
        self._write(starts, np.concatenate(ids), learn.view(np.uint8), [place.encode() for place in where])
        return np.add.reduceat(learn, starts[:-1], dtype=np.int64)

    def _write(self, starts: np.ndarray, ids: np.ndarray, learn: np.ndarray, where: list[bytes]) -> None:
        """Writes a batch from its bytes: pyarrow's conversions of numpy arrays and lists first import all of pandas."""
        import pyarrow as pa

        def buffers(starts: np.ndarray) -> list[Any]:
            return [None, pa.py_buffer(starts.astype(np.int32))]

        columns = []
        for column, kind in ((ids, pa.int32()), (learn, pa.uint8())):
            values = pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(column)])
            columns.append(pa.Array.from_buffers(pa.list_(kind), len(where), buffers(starts), children=[values]))
        text = [*buffers(_starts(where)), pa.py_buffer(b"".join(where))]
        columns.append(pa.Array.from_buffers(pa.string(), len(where), text))
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))


def _starts(parts: Sequence[Any]) -> np.ndarray:
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


@dataclass(eq=False)
class Packs:
    """The packs of one split; `packs[i]` is a Pack. `lengths` (packs,) int64 is how many tokens each has.

    Example e has the samples from e * `sequences` on, and `numbers[name][e]`; `layout` is one of Examples.
    """

    samples: Samples
    layout: Layout
    lengths: np.ndarray
    packed: bool
    sequences: int = 1
    numbers: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.layout)

    def __getitem__(self, pack: int) -> Pack:
        if not 0 <= pack < len(self):
            raise IndexError(f"pack {pack} of {len(self)}")
        examples = self.layout[pack]
        ids, labels = zip(*(self.samples[sample] for sample in self.samples_of(examples).tolist()), strict=True)
        lengths = np.array([len(sample) for sample in ids], dtype=np.int32)
        numbers = {name: values[examples] for name, values in self.numbers.items()}
        return Pack(np.concatenate(ids), np.concatenate(labels), lengths, numbers)

    def samples_of(self, examples: np.ndarray) -> np.ndarray:
        """The samples of Examples, those of each together."""
        return (examples[:, None] * self.sequences + np.arange(self.sequences)).ravel()

    @property
    def examples(self) -> int:
        """How many Examples the samples are, those of the other split among them."""
        return len(self.samples) // self.sequences

    def where(self, pack: int) -> list[str]:
        """The places of the rows that a pack was made of, in order."""
        return [self.samples.where(example * self.sequences) for example in self.layout[pack].tolist()]

    def order(self, seed: int, epoch: int, step: int) -> np.ndarray:
        """The indices of all packs in the order of one epoch, of which each step takes `step`."""
        order = shuffled(len(self), seed, epoch)
        return order if self.packed else grouped_in_steps(order, self.lengths, step)

    @property
    def order_name(self) -> str:
        """Names the rule of `order`: a run never goes on with another one."""
        return SHUFFLED if self.packed else GROUPED


class Dataset(NamedTuple):
    """What a run trains and evaluates on. `key` identifies the content: another key, other data."""

    train: Packs
    held_out: Packs
    key: str


def write_packs(
    folder: Path,
    layouts: dict[str, Layout],
    lengths: np.ndarray,
    packed: bool,
    sequences: int = 1,
    numbers: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes the layouts of both splits, and the numbers of Examples; `lengths` (examples,) are theirs in tokens."""
    arrays: dict[str, Any] = {"packed": np.array(packed), "sequences": np.array(sequences)}
    arrays |= {f"{NUMBER}{name}": values for name, values in (numbers or {}).items()}
    for split, layout in layouts.items():
        arrays[f"{split}_samples"], arrays[f"{split}_starts"] = layout
        arrays[f"{split}_lengths"] = np.diff(np.concatenate([[0], np.cumsum(lengths[layout.samples])])[layout.starts])
    np.savez(folder / PACKS, **arrays)


def open_dataset(folder: Path) -> Dataset:
    """The Dataset of a folder of prepared data; its name is the key."""
    samples = Samples(folder / SAMPLES)
    with np.load(folder / PACKS) as arrays:
        train, held_out = (
            Packs(
                samples,
                Layout(arrays[f"{split}_samples"], arrays[f"{split}_starts"]),
                arrays[f"{split}_lengths"],
                bool(arrays["packed"]),
                int(arrays["sequences"]),
                {name.removeprefix(NUMBER): arrays[name] for name in arrays if name.startswith(NUMBER)},
            )
            for split in SPLITS
        )
    return Dataset(train, held_out, folder.name)
