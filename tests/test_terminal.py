"""What reaches a terminal: our own colours, and everything else with visible escapes."""

from __future__ import annotations

import io
import logging
import sys

import pytest
from rich.table import Table
from rich.text import Text

from xtune.terminal import CleanStream, clean_output, console

EVIL = "\x1b]0;title\x07\x1b[31m\x9b2J\u202e"
SHOWN = r"\x1b]0;title\x07\x1b[31m\x9b2J\u202e"


def by_print() -> None:
    print(EVIL)


def by_write() -> None:
    sys.stdout.writelines([EVIL, "\n"])


def by_logging() -> None:
    logging.StreamHandler(sys.stdout).emit(logging.LogRecord("x", 1, "", 1, EVIL, (), None))


def by_last_resort() -> None:
    sys.stderr = sys.stdout
    logging.lastResort.emit(logging.LogRecord("x", 30, "", 1, EVIL, (), None))


def by_rich_of_another() -> None:
    from rich.console import Console

    Console(force_terminal=True, color_system=None, width=200).print(Text(EVIL.replace("\x07", "")), "\\x07")


def by_print_exception() -> None:
    import traceback

    try:
        raise ValueError(EVIL)
    except ValueError:
        traceback.print_exc(file=sys.stdout)


@pytest.mark.parametrize(
    "write", [by_print, by_write, by_logging, by_last_resort, by_rich_of_another, by_print_exception]
)
def test_whoever_prints_the_stream_is_clean(monkeypatch, write):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    with clean_output():
        write()
    assert stream.getvalue().replace("\n", "").isprintable()
    assert SHOWN.replace(r"\x07", "") in stream.getvalue().replace(r"\x07", "")
    assert sys.stdout is stream


def test_our_own_colours_pass_and_those_of_texts_do_not(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    table = Table("a")
    table.add_row(Text(f"cell {EVIL}", style="red"))
    with clean_output():
        screen = console(force_terminal=True, color_system="truecolor", width=200)
        screen.print(Text(f"text {EVIL}", style="bold"), f"[red]plain :smile: {EVIL}[/]", table)
        screen.rule(f"title {EVIL}")
    text = stream.getvalue()
    assert "\x1b[1mtext " in text and "\x1b[31mcell " in text
    assert "[red]plain :smile: " in text, "no markup is read in texts"
    assert "\x1b]0;" not in text and "\x07" not in text and "\x9b" not in text and "\u202e" not in text
    for part in ("text", "plain", "cell", "title"):
        assert rf"{part} {'' if part != 'plain' else ':smile: '}\x1b]0;title" in text


def test_a_stream_of_another_encoding_takes_everything():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    CleanStream(stream).write("你é\ud800\x1b a\n")
    assert raw.getvalue() == rb"\u4f60\xe9\ud800\x1b a" + b"\n"


def test_a_clean_stream_is_otherwise_the_stream(tmp_path):
    with open(tmp_path / "file", "w", encoding="utf-8") as file:
        stream = CleanStream(file)
        assert stream.fileno() == file.fileno() and not stream.isatty() and stream.encoding == "utf-8"
        stream.flush()
    with clean_output(), clean_output():
        assert not isinstance(sys.stdout.uncleaned, CleanStream), "it is cleaned once"
