"""Prepared data on disk: every sample once, in a memory-mapped Arrow file, and which samples each pack holds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xtune.data.order import GROUPED, SHUFFLED, grouped_in_steps, shuffled
from xtune.data.pack import Layout, Pack
from xtune.data.samples import NUMBER, SAMPLES, Samples

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKS = "packs.npz"
SPLITS = ("train", "held_out")


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
    fingerprint: str = ""
    """A hash of every id, label and border: equal only for the same data in the same packs."""

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
    digest: str = "",
) -> None:
    """Writes the layouts of both splits, and the numbers of Examples; `lengths` (examples,) are theirs in tokens, and
    `digest` is that of their samples.
    """
    arrays: dict[str, Any] = {"packed": np.array(packed), "sequences": np.array(sequences)}
    arrays |= {f"{NUMBER}{name}": values for name, values in (numbers or {}).items()}
    for split, layout in layouts.items():
        arrays[f"{split}_samples"], arrays[f"{split}_starts"] = layout
        arrays[f"{split}_fingerprint"] = np.array(_fingerprint(digest, layout, numbers or {}))
        arrays[f"{split}_lengths"] = np.diff(np.concatenate([[0], np.cumsum(lengths[layout.samples])])[layout.starts])
    np.savez(folder / PACKS, **arrays)


def _fingerprint(digest: str, layout: Layout, numbers: Mapping[str, np.ndarray]) -> str:
    found = hashlib.sha256(digest.encode())
    for values in (*layout, *(numbers[name] for name in sorted(numbers))):
        found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()


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
                str(arrays[f"{split}_fingerprint"]),
            )
            for split in SPLITS
        )
    return Dataset(train, held_out, folder.name)
