"""One family of errors: each is a mistake that the user can correct. It has a fact and a hint.

The fact has the form "what is wrong: got `X`", the hint is the next thing to do or to type. The command line prints a
line of each and exits with 2; anything that is not an XtuneError is a fault of ours and leaves a traceback and exit
code 1.
"""

from __future__ import annotations

from collections.abc import Iterable

from xtune.text import one_line

LONGEST = 2000
"""Characters of a line."""


class XtuneError(Exception):
    """Base of every error that xtune raises on purpose. Its text is `fact; hint`."""

    def __init__(self, fact: str, hint: str = "") -> None:
        super().__init__(fact, hint)
        self.fact = fact
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.fact}; {self.hint}" if self.hint else self.fact

    def lines(self) -> str:
        """What a command prints: a line of the fact and one of the hint."""
        hint = f"\nhint: {one_line(self.hint, LONGEST)}" if self.hint else ""
        return one_line(self.fact, LONGEST) + hint


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
    "tuning": "xtune list-strategies",
    "quantization": "xtune list-components",
    "optimizer": "xtune list-components",
    "schedule": "xtune list-components",
    "callback": "xtune list-components",
    "data set": "xtune list-cfg --group dataset",
    "command": "xtune --help",
}
"""Kinds of names to the command that lists them."""


class UnknownName(XtuneError, KeyError):
    """A name that no registry entry has. Also a KeyError, so that a registry behaves as a mapping."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        super().__init__(
            f"unknown {kind}: got `{one_line(name, 80)}`", suggestion(name, known, LISTED_BY.get(kind, ""))
        )


class UnknownPart(UnknownName):
    """A part of a config's name that is no model, tuning or data set."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        found = nearest(name, known)
        hint = f"did you mean `{found[0]}`?" if found else f"{LISTED_BY[kind]} lists them"
        XtuneError.__init__(self, f"no {kind} `{one_line(name, 80)}`", hint)


class DuplicateName(XtuneError):
    """A name that is taken already."""

    def __init__(self, kind: str, name: str, owner: str, taken_by: str) -> None:
        super().__init__(
            f"{kind} {name!r} is registered twice: by {taken_by} and by {owner}",
            "turn one off (XTUNE_PLUGINS= names the plugins to load) or rename it",
        )


def suggestion(name: str, known: Iterable[str], listed_by: str = "") -> str:
    """The hint of an error: the names in `known` that are nearest to `name`, or all of them where they are few.

    Where they are neither near nor few, `listed_by` is the command to look them up with.
    """
    names = sorted(known)
    near = nearest(name, names)
    if near:
        return "did you mean " + " or ".join(near) + "?"
    if not names:
        return "there are none"
    if len(names) <= 12:
        return "choose one of " + ", ".join(names)
    return f"none of the {len(names)} known names is near it" + (f": see {listed_by}" if listed_by else "")


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.5) -> list[str]:
    """At most three of the names in `known` that are like `name`, the nearest first."""
    from difflib import get_close_matches  # only errors pay for it

    return get_close_matches(str(name)[:100], sorted(known), n=3, cutoff=cutoff)
