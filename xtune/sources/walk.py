"""What lies below a folder, and what matches a pattern. What cannot be looked at is an error, never passed over."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fnmatch import translate
from glob import has_magic
from pathlib import Path

from xtune.errors import DataError
from xtune.paths import kind, unusable
from xtune.sources.limits import MOST_ENTRIES

Entry = tuple[Path, str]
"""A path, and its kind: see location.kind."""


def below(folder: Path) -> list[Entry]:
    """All that is no folder below `folder`, sorted. Hidden names, and all below them, are left out."""
    return sorted(entry for entry in _Walk(str(folder)).tree(folder) if entry[1] != "folder")


def matching(pattern: str) -> list[Entry]:
    """All that is no folder and matches a pattern of shells, sorted.

    `*`, `?` and `[a-c]` are for parts of names, `**` for folders in folders. A name spelt as the pattern matches, too.
    """
    walk, parts = _Walk(pattern), Path(pattern).parts
    first = next(number for number, part in enumerate(parts) if has_magic(part))
    places = {Path(*parts[:first])}
    for part in parts[first:-1]:
        found = [entry for place in places for entry in (walk.tree(place) if part == "**" else walk.named(place, part))]
        places = {path for path, what in found if what == "folder"}
    last = walk.tree if parts[-1] == "**" else lambda place: walk.named(place, parts[-1])
    return sorted({entry for place in places for entry in last(place) if entry[1] != "folder"})


class _Walk:
    """Looks into folders, and counts what it sees there: `/**` would else take hours."""

    def __init__(self, asked: str) -> None:
        self._asked = asked
        self._seen = 0

    def named(self, folder: Path, part: str) -> list[Entry]:
        """What is in a folder, if it is one, and matches one part of a pattern."""
        if not has_magic(part):
            what = kind(folder / part, DataError)
            return [(folder / part, what)] if what else []
        if kind(folder, DataError) != "folder":
            return []
        fits = re.compile(translate(part)).match
        return [entry for entry in self._entries(folder) if fits(entry[0].name) or entry[0].name == part]

    def tree(self, folder: Path) -> Iterator[Entry]:
        """A folder, if it is one, and all below it, behind links to folders too."""
        waiting: list[tuple[Path, frozenset[str]]] = [(folder, frozenset())]
        while waiting:
            place, above = waiting.pop()
            if kind(place, DataError) != "folder":
                continue
            if (real := os.path.realpath(place)) in above:
                raise DataError(f"{place} is a link to a folder that it lies in", "remove the link")
            yield place, "folder"
            for path, what in self._entries(place):
                if what == "folder":
                    waiting.append((path, above | {real}))
                else:
                    yield path, what

    def _entries(self, folder: Path) -> Iterator[Entry]:
        """What is in a folder, but for hidden names."""
        try:
            with os.scandir(folder) as found:
                entries = list(found)
        except OSError as caught:
            raise unusable(folder, caught, DataError) from caught
        self._seen += len(entries)
        if self._seen > MOST_ENTRIES:
            raise DataError(
                f"{self._asked} has too much below it: got more than {MOST_ENTRIES:,} files and folders",
                "give a folder further down",
            )
        for entry in entries:
            path = folder / entry.name
            if not entry.name.startswith("."):
                yield path, "file" if entry.is_file(follow_symlinks=False) else kind(path, DataError)
