"""One family of errors: each is a mistake that the user can mend, told in one line.

The line has the form "what is wrong: got X; do Y". The command line prints it and exits with 2; anything that is not
an XtuneError is a fault of ours and leaves a traceback and exit code 1.
"""

from __future__ import annotations

from collections.abc import Iterable

from xtune.text import shown


class XtuneError(Exception):
    """Base of every error that xtune raises on purpose."""


class ConfigError(XtuneError):
    """A config has an unknown key, a value of the wrong type, or settings that contradict each other."""


class DataError(XtuneError):
    """A data file, a row or a column is missing, unreadable or of the wrong type."""


class ModelError(XtuneError):
    """A model folder, a tokenizer or an adapter is missing, incomplete or does not fit."""


class PluginError(XtuneError):
    """A plugin cannot be imported, implements an unknown hook, or fails while it registers."""


class CheckpointError(XtuneError):
    """A checkpoint is missing, damaged, incomplete or belongs to another run."""


LISTED_BY = {
    "config": "xtune list-cfg",
    "model": "xtune list-models",
    "template": "xtune list-templates",
    "mapper": "xtune list-mappers",
    "strategy": "xtune list-strategies",
    "command": "xtune --help",
}
"""Kinds of names to the command that lists them."""


class UnknownName(XtuneError, KeyError):
    """A name that no registry entry has. Also a KeyError, so that a registry behaves as a mapping."""

    __str__ = Exception.__str__  # KeyError would print the repr of the message

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"unknown {kind}: got {shown(name)}; {suggestion(name, known, LISTED_BY.get(kind, ''))}")


class DuplicateName(XtuneError):
    """A name that is taken already."""

    def __init__(self, kind: str, name: str, owner: str, taken_by: str) -> None:
        super().__init__(
            f"{kind} {name!r} is registered twice: by {taken_by} and by {owner}; "
            f"turn one off (XTUNE_PLUGINS= names the plugins to load) or rename it"
        )


def suggestion(name: str, known: Iterable[str], listed_by: str = "") -> str:
    """The end of an error line: the names in `known` that are nearest to `name`, or all of them where they are few.

    Where they are neither near nor few, `listed_by` is the command to look them up with.
    """
    from difflib import get_close_matches  # only errors pay for it

    names = sorted(known)
    near = get_close_matches(str(name)[:100], names, n=3, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(near) + "?"
    if not names:
        return "there are none"
    if len(names) <= 12:
        return "choose one of " + ", ".join(names)
    return f"none of the {len(names)} known names is near it" + (f": see {listed_by}" if listed_by else "")
