"""The pages of the documentation, taken apart: their blocks, the commands in them, and the files that they show."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
PAGES = [*READMES, *sorted((ROOT / "docs").glob("*.md"))]

PROGRAMS = {"xtune", "make", "pip", "torchrun", "srun"}

FENCE = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block; `title` is the file that it shows, if any."""

    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in FENCE.findall(page.read_text(encoding="utf-8"))]


def lines(page: Path) -> list[list[str]]:
    """The words of every command line, continued lines joined: all of a block of sh, of one without a language those
    that begin with a known program."""
    found = []
    for block in blocks(page):
        if block.language in ("", "sh"):
            told = [shlex.split(line, comments=True) for line in block.text.replace("\\\n", " ").splitlines()]
            found += [words for words in told if words and (block.language or words[0] in PROGRAMS)]
    return found


def commands(page: Path) -> list[list[str]]:
    """What comes after `xtune` in those lines, whoever starts it."""
    found = []
    for words in lines(page):
        for name in ("xtune", "xtune.cli"):
            if name in words:
                found.append(words[words.index(name) + 1 :])
    return found
