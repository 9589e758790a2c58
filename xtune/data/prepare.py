"""Rows -> Examples on disk -> packs. Every row is trained on, held out or counted as dropped."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import numpy as np

from xtune.atomic import file_digest
from xtune.conversation import Example
from xtune.data.cache import about, cached, data_root
from xtune.data.content import combined, function_identity, source_digest, tokenizer_identity
from xtune.data.dataset import Dataset, open_dataset, write_packs
from xtune.data.feed import Choice, Feed, Mapped, map_rows
from xtune.data.pack import Layout, best_fit_decreasing, one_each
from xtune.data.report import Report
from xtune.data.samples import SAMPLES, SampleWriter
from xtune.data.workers import Results, encode_all
from xtune.encoding.encoder import PLAIN, Encoder, Recipe
from xtune.encoding.outcome import Outcome
from xtune.errors import DataError

REPORT_EVERY = 10.0  # seconds
WRITTEN_AT_ONCE = 1000  # samples

log = logging.getLogger(__name__)


class Prepared(NamedTuple):
    """What prepare() gives: the packs to train on, and the account of all rows."""

    dataset: Dataset
    report: Report


def prepare(
    feeds: Sequence[Feed],
    encoder: Encoder,
    *,
    recipe: Recipe = PLAIN,
    pack: bool = True,
    deduplicate: bool = False,
    holdout: float = 0.0,
    seed: int = 0,
    cache_dir: Path | None = None,
) -> Prepared:
    """Reads, maps, encodes and packs all rows, or opens what was prepared before from the same content.

    `recipe` is the objective's. `pack` joins Examples to packs of `encoder.max_length` tokens for each sequence of an
    Example. `holdout` (0 to 1) is the share of rows kept for evaluation, chosen by what the row says and nothing else.
    `deduplicate` drops rows that were there before. `cache_dir` defaults to the folder `data` of the cache.

    A Rust tokenizer works in a thread a core, eight at most, or in as many as RAYON_NUM_THREADS says, whatever
    TOKENIZERS_PARALLELISM says; one written in Python gets a process a core. Memory holds a few numbers for each row,
    and the text of 512 rows a thread or process.

    Raises DataError where a file cannot be read, where a data set begins with nothing but malformed rows, where no
    row is left to train on, where a conversation is too long and the encoder's policy is "error", and where the cache
    cannot be written.
    """
    if pack and encoder.max_length is None:
        raise ValueError("packing needs the length of a pack: got an encoder with max_length None")
    key = {
        "feeds": [_feed_identity(feed) for feed in feeds],
        "encoder": _encoder_identity(encoder),
        "examples": [recipe.takes.__name__, recipe.sequences, function_identity(recipe.examples)],
        "settings": [pack, deduplicate, holdout, seed],
        "code": source_digest(prepare),
    }
    build = partial(_build, feeds, encoder, recipe, Choice(deduplicate, holdout, seed), pack)
    folder = cached(cache_dir or data_root(), combined(key), build)
    return Prepared(open_dataset(folder), Report.from_json(about(folder)["report"]))


def _feed_identity(feed: Feed) -> dict[str, Any]:
    """What of a feed shapes the samples. File names do too: a sample remembers the place of its row."""
    return {
        "files": [(file.name, file_digest(file)) for file in feed.source.files],
        "readers": [function_identity(reader) for reader in feed.source.readers],
        "fingerprint": feed.source.fingerprint,
        "mapper": function_identity(feed.mapper),
        "system": feed.system,
        "weight": feed.weight,
    }


def _encoder_identity(encoder: Encoder) -> dict[str, Any]:
    return {
        "template": repr(encoder.template),
        "tokenizer": tokenizer_identity(encoder.tokenizer),
        "policy": [encoder.max_length, encoder.learn, encoder.too_long],
        "code": source_digest(type(encoder)),
    }


def _build(
    feeds: Sequence[Feed], encoder: Encoder, recipe: Recipe, choice: Choice, pack: bool, folder: Path
) -> dict[str, Any]:
    """Fills `folder` with samples and packs; returns what the cache says of it."""
    report = Report(pack_length=recipe.sequences * encoder.max_length if pack and encoder.max_length else None)
    batches = (batch for feed in feeds for batch in map_rows(feed, choice, report, recipe.takes))
    with closing(encode_all(batches, encoder, recipe)) as done:
        table, numbers, digest = _write_samples(_examples(done, report), report, folder)
    layouts = _lay_out(table, report)
    write_packs(folder, layouts, table["length"], pack, recipe.sequences, numbers, digest)
    return {"report": report.to_json(), "data": [feed.source.name for feed in feeds]}


def _write_samples(
    examples: Iterator[tuple[Mapped, bool, Example]], report: Report, folder: Path
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], str]:
    """Writes every Example's sequences once; returns its length, trained tokens, copies an epoch, split, and whether it
    is the first of its row (a long plain text gives several), and its own numbers, each (examples,); and a digest of
    all that was written.
    """
    table = {name: array("i") for name in ("length", "trained", "copies", "held_out", "first")}
    numbers: dict[str, array[float]] = {}
    started = reported = monotonic()
    with SampleWriter(folder / SAMPLES) as writer:
        while some := list(islice(examples, WRITTEN_AT_ONCE)):
            samples = [(tokens, of.where) for of, _, example in some for tokens in example.sequences]
            trained = writer.write(*zip(*samples, strict=True))
            table["trained"].extend(trained.reshape(len(some), -1).sum(1).tolist())
            table["length"].extend(sum(len(tokens.ids) for tokens in example.sequences) for _, _, example in some)
            table["copies"].extend(of.copies for of, _, _ in some)
            table["held_out"].extend(of.held_out for of, _, _ in some)
            table["first"].extend(first for _, first, _ in some)
            for name in some[0][2].numbers:
                numbers.setdefault(name, array("d")).extend(example.numbers[name] for _, _, example in some)
            if monotonic() - reported > REPORT_EVERY:
                reported = monotonic()
                log.info("preparing data: %d rows, %d rows/s", report.read, report.read / (reported - started))
    return _arrays(table), _arrays(numbers), writer.digest


def _arrays(columns: Mapping[str, array[Any]]) -> dict[str, np.ndarray]:
    return {name: np.array(column) for name, column in columns.items()}


def _examples(done: Iterable[tuple[list[Mapped], Results]], report: Report) -> Iterator[tuple[Mapped, bool, Example]]:
    """Each Example with the row that it is of, and whether it is that row's first. Counts what became of the others."""
    for batch, results in done:
        for mapped, encoded in zip(batch, results, strict=True):
            if isinstance(encoded, DataError):
                report.drop_for(encoded, mapped.where)
                continue
            if not encoded.outcome.is_kept:
                report.drop(encoded.outcome, mapped.where)
            elif encoded.outcome is not Outcome.WHOLE:
                report.change(encoded.outcome)
            for number, example in enumerate(encoded.examples):
                yield mapped, number == 0, example


def _lay_out(table: dict[str, np.ndarray], report: Report) -> dict[str, Layout]:
    """The packs of both splits; fills in the report's figures."""
    held_out, first = table["held_out"].astype(bool), table["first"].astype(bool)
    report.trained, report.held_out = int((first & ~held_out).sum()), int((first & held_out).sum())
    if not report.trained:
        reasons = ", ".join(f"{reason} {count}" for reason, count in report.dropped.items()) or "held out all"
        raise DataError(
            f"no row is left to train on: got {report.read} rows ({reasons})",
            "look at them with xtune check-custom-dataset FILE",
        )
    layouts = {}
    for split, members in (("train", ~held_out), ("held_out", held_out)):
        samples = np.repeat(np.flatnonzero(members), table["copies"][members])
        lengths = table["length"][samples]
        layout = best_fit_decreasing(lengths, report.pack_length) if report.pack_length else one_each(lengths)
        layouts[split] = Layout(samples[layout.samples], layout.starts)
    train = layouts["train"]
    report.samples, report.packs = len(train.samples), len(train)
    report.tokens = int(table["length"][train.samples].sum(dtype=np.int64))
    report.trained_tokens = int(table["trained"][train.samples].sum(dtype=np.int64))
    return layouts
