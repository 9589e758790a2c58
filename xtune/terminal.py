"""The one way to a terminal: what others wrote is shown with visible escapes, and only our own colours pass."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

from xtune.text import visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderResult


class CleanStream:
    """A text stream whose `write` makes escapes visible, and also what the stream's encoding lacks."""

    def __init__(self, stream: TextIO) -> None:
        self.uncleaned = stream

    def write(self, text: str) -> int:
        line = visible(text)
        try:
            self.uncleaned.write(line)
        except UnicodeEncodeError as error:
            self.uncleaned.write(line.encode(error.encoding, "backslashreplace").decode(error.encoding))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.uncleaned, name)


@contextmanager
def clean_output() -> Iterator[None]:
    """Within, what is printed, warned and logged to stdout and stderr is cleaned."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, CleanStream(_uncleaned(stream))) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


@contextmanager
def readers_may_leave() -> Iterator[None]:
    """Around what is printed beside a longer work, which goes on when nobody reads any more: `| head`, or a terminal
    that is closed. From then on, stdout goes nowhere.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError:
        silence()


def silence() -> None:
    """Sends stdout nowhere, what is in its buffer too: Python would complain of that at the end, with exit code 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def console(**options: Any) -> Console:
    """A console of rich for styled output to stdout. Its own escapes pass, those in texts are made visible.

    Nothing in a text is read as markup or an emoji's name.
    """
    from rich.console import Console, RenderHook

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            """Rich calls it while it handles that error, and would end the process."""
            silence()
            raise

    class Cleaning(RenderHook):
        def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
            return [Cleaned(renderable) for renderable in renderables]

    plain = {"markup": False, "emoji": False, "highlight": False}
    made = Terminal(**{"file": _uncleaned(sys.stdout), **plain, **options})
    made.push_render_hook(Cleaning())
    return made


class Cleaned:
    """What rich makes of a renderable, its texts cleaned."""

    def __init__(self, renderable: ConsoleRenderable) -> None:
        self.renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        for segment in console.render(self.renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def _uncleaned(stream: TextIO) -> TextIO:
    return stream.uncleaned if isinstance(stream, CleanStream) else stream
