"""Threads or processes encode; whatever happens, they end, and the settings of the process are what they were."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from questions import question, row

from xtune.conversation import Conversation
from xtune.data.feed import BATCH, Feed, Mapped
from xtune.data.prepare import Prepared, prepare
from xtune.data.samples import SampleWriter
from xtune.data.workers import encode_all
from xtune.encoding.encoder import Encoder
from xtune.errors import DataError
from xtune.sources.source import open_source


def test_a_tokenizer_written_in_python_works_in_processes(
    shared: Path, tmp_path: Path, write: Callable[..., Path]
) -> None:
    from xtune.models.load import load_tokenizer
    from xtune.registries import components

    tokenizer = load_tokenizer(shared / "data/tokenizers/baichuan2")
    assert not tokenizer.is_fast
    encoder = Encoder(components([]).templates["baichuan2_chat"], tokenizer, max_length=64)
    rows = [*(row(number, f"答案 {number}") for number in range(1100)), {"q": "\ud800", "a": "x"}]
    prepared = prepare([Feed(open_source(write(rows)), question)], encoder, pack=False, cache_dir=tmp_path / "cache")
    expected = [one.examples[0].sequences[0] for one in encoder.encode_batch([question(one) for one in rows[:-1]])]
    assert prepared.report.dropped == {"a turn's text is not well-formed Unicode": 1}
    for pack, encoded in zip(prepared.dataset.train, expected, strict=True):
        assert np.array_equal(pack.ids, encoded.ids) and np.array_equal(pack.labels, encoded.labels)


ENCODES_FOR_EVER = """
import os, sys, time
from types import SimpleNamespace
from xtune.data.workers import encode_all
def examples(rows, encoder):
    os.write(1, f"{os.getpid()}\\n".encode())  # in one piece: there may be two
    time.sleep(600)
encoder = SimpleNamespace(tokenizer=SimpleNamespace(is_fast=False))
recipe = SimpleNamespace(examples=examples)
next(encode_all(iter([[SimpleNamespace(row=1)]] * 2), encoder, recipe))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_processes_end_with_a_parent_that_a_signal_ends(number: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", ENCODES_FOR_EVER], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = Path("/proc", parent.stdout.readline().strip(), "stat")
    assert worker.exists() and worker.parent.name != str(parent.pid)
    parent.send_signal(number)
    assert parent.wait(timeout=30) == -number
    for _ in range(100):
        if not worker.exists() or worker.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        pytest.fail("a worker goes on")


@pytest.mark.parametrize("before", ["true", None])
def test_a_rust_tokenizer_works_in_as_many_threads_as_asked_for(
    run: Callable[..., Prepared], monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.setenv("RAYON_NUM_THREADS", "3")
    if before is None:
        monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    else:
        monkeypatch.setenv("TOKENIZERS_PARALLELISM", before)
    used = []
    met = threading.Barrier(3, timeout=60)

    def encode_batch(encoder: Encoder, conversations: list[Conversation]) -> list[Any]:
        used.append((threading.get_ident(), os.environ["TOKENIZERS_PARALLELISM"]))
        if len(used) <= 3:
            met.wait()  # for three threads
        return whole(encoder, conversations)

    whole = Encoder.encode_batch
    monkeypatch.setattr(Encoder, "encode_batch", encode_batch)
    assert run(*(row(number) for number in range(4 * BATCH))).report.trained == 4 * BATCH
    assert len(dict(used)) == 3 and threading.get_ident() not in dict(used)
    assert {parallel for _, parallel in used} == {"false"}  # else Rust starts as many again in each
    assert os.environ.get("TOKENIZERS_PARALLELISM") == before


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_is_left_behind_where_writing_fails(
    run: Callable[..., Prepared], monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(SampleWriter, "write", fail)
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    before = threading.active_count(), gc.get_threshold()
    with pytest.raises((DataError, KeyboardInterrupt)) as raised:
        run(*(row(number) for number in range(9 * BATCH)))
    assert raised.value  # it is alive, and with it what its traceback holds
    assert (threading.active_count(), gc.get_threshold()) == before
    assert "TOKENIZERS_PARALLELISM" not in os.environ


def test_two_that_prepare_at_once_leave_the_settings_of_the_process(
    encoder: Callable[..., Encoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that began first ends first."""

    def of_process() -> tuple[Any, ...]:
        return gc.get_threshold(), os.environ.get("TOKENIZERS_PARALLELISM")

    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    before = of_process()
    batch = [Mapped(question(row(1)), "row 1", 1, False)]
    first, second = (encode_all([batch] * 9, encoder()) for _ in range(2))
    next(first), next(second)
    during = of_process()
    assert during != before
    first.close()
    assert of_process() == during
    second.close()
    assert of_process() == before


def test_a_garbage_collector_that_is_off_stays_off(encoder: Callable[..., Encoder]) -> None:
    before = gc.get_threshold()
    gc.set_threshold(0)
    try:
        for _ in encode_all([[Mapped(question(row(1)), "row 1", 1, False)]], encoder()):
            assert gc.get_threshold()[0] == 0
        assert gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*before)
