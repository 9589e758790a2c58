"""The field's words: what nobody else calls so is not said here, in code, messages or docs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
INSTEAD = {
    "learnt": "trained, trained on; learned",
    "told": "reported, said, printed",
    "tells": "says, reports",
    "mend": "correct, fix",
    "mended": "corrected, fixed",
    "spread": "distributed, sharded",
}
"""House words that were, and what to write."""
ALLOWED = {
    ("xtune/evaluation/held_out.py", "learnt"): "a key of journals, for readers of older ones",
    ("xtune/training/loop.py", "learnt"): "a key of journals, for readers of older ones",
    ("xtune/callbacks/callback.py", "learnt"): "a key of journals, for readers of older ones",
    ("xtune/data/report.py", "learnt"): "the old name of a field, for one version",
}
WORDS = re.compile(rf"\b({'|'.join(INSTEAD)})\b", re.IGNORECASE)


def texts() -> list[Path]:
    """Code, docs and tools, but for generated configs, what changed, and rows and prompts, which are data."""
    found = [*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), *PROJECT.glob("tools/*.py")]
    found += [*PROJECT.glob("plugins/**/*.md"), *PROJECT.glob("plugins/**/*.py")]
    found += [path for path in PROJECT.glob("xtune/**/*") if path.suffix in (".py", ".html")]
    data = ("xtune/configs/", "CHANGELOG.md", "xtune/catalogue/prompts.py")
    return [path for path in found if not path.relative_to(PROJECT).as_posix().startswith(data)]


def test_no_house_words():
    found = {
        (path.relative_to(PROJECT).as_posix(), word.lower())
        for path in texts()
        for word in WORDS.findall(path.read_text(encoding="utf-8"))
    }
    assert len(texts()) > 300
    assert {place: INSTEAD[place[1]] for place in found - ALLOWED.keys()} == {}
    assert ALLOWED.keys() <= found


@pytest.mark.parametrize("text", ["what is learnt", "It tells.", "Mend it"])
def test_they_are_found(text):
    assert WORDS.search(text)
