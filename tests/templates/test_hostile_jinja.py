"""Hostile chat templates: none runs long, fills the memory or reaches the interpreter; each ends in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hostile import FINE, REFUSED

LIMIT = 10**9
"""Bytes of memory, beyond which the system gives a program no more."""
LEAKS = ("root:", "<class", "<module", "<function", "subclasses")


@pytest.fixture(scope="module")
def ends():
    """What came of each: by name its end, its text, seconds of the processor, the most memory so far."""
    program = [sys.executable, str(Path(__file__).with_name("hostile.py")), str(LIMIT)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=250)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    found = {name: (end, text, seconds, peak) for name, end, text, seconds, peak in rows}
    assert list(found) == [*REFUSED, *FINE], f"it ended after {rows[-1:]}: {done.stderr[-500:]}"
    assert done.returncode == 0
    return found


@pytest.mark.parametrize("name", REFUSED)
def test_it_ends_in_one_line(name, ends):
    end, text, seconds, _ = ends[name]
    assert end in ("UnusableTemplate", "RefusedConversation"), text
    assert text.startswith("the chat template of `M` ")
    assert len(text) < 400
    assert "\n" not in text
    assert not any(leak in text for leak in LEAKS)
    assert seconds < 3


@pytest.mark.parametrize("name", FINE)
def test_what_is_odd_but_small_is_written(name, ends):
    end, _, seconds, _ = ends[name]
    assert end == "rendered"
    assert seconds < 5


def test_memory_stays_far_below_the_limit(ends):
    assert max(peak for *_, peak in ends.values()) < LIMIT / 2
