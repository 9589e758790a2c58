"""Every error message of the program: a fact, and a hint that says what to do or to type."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))
from error_messages import FILLED_IN, PACKAGE, messages, modules

SAID = [(path.relative_to(PACKAGE).as_posix(), message) for path in modules() for message in messages(path)]
EMPTY = re.compile(
    r"(please )?(change|choose|clean|correct|fix|give|mend|raise|lower|rename|check|set|add) "
    r"(it|them|this|another|another one|one|the row|the file|a different one)\.?"
)
"""Hints that say nothing."""


def is_passed_on(text: str) -> bool:
    """Whether a text is another function's, or a library's: nothing of it is written here."""
    return not text.strip(FILLED_IN + " :`")


def test_all_messages_are_read():
    assert len(SAID) > 300 and len({path for path, _ in SAID}) > 70


@pytest.mark.parametrize("path", sorted({path for path, _ in SAID}))
def test_every_fact_has_a_hint(path):
    for where, (fact, hint) in SAID:
        if where == path and not is_passed_on(fact):
            assert hint, fact
            assert not EMPTY.fullmatch(hint), f"{fact}; {hint}"


def test_facts_and_hints_are_parts_of_a_line():
    """Neither holds the other, and none ends with a full stop of its own."""
    for _, (fact, hint) in SAID:
        assert "\n" not in fact + hint, fact
        assert "; " not in fact, fact
        assert not fact.endswith((".", ";")) and not hint.endswith((".", ";")), f"{fact}; {hint}"


def test_what_was_got_stands_in_backticks():
    """A value that somebody gave is set apart from our words; numbers of things, and kinds of them, are our words."""
    for _, (fact, _) in SAID:
        assert not re.search(rf"got '{FILLED_IN}'|got \"{FILLED_IN}\"", fact), fact


@pytest.mark.parametrize("hint", ["mend it", "change it", "choose another one", "Please fix it".lower()])
def test_hints_that_say_nothing_are_found(hint):
    assert EMPTY.fullmatch(hint)


@pytest.mark.parametrize("hint", ["set max_length=2048 or less", "raise train.epochs", "choose another --work-dir"])
def test_hints_that_say_something_pass(hint):
    assert not EMPTY.fullmatch(hint)
