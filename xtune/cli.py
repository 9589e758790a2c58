"""The command line: finds the subcommand, parses, runs it, and prints errors.

Exit codes: 0 success, 2 a user's mistake (one line), 1 anything else (a traceback), 128 + N a signal
number N, such as 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from xtune import __version__
from xtune.commands import components
from xtune.errors import XtuneError
from xtune.foreign import reason
from xtune.registries import Components
from xtune.terminal import clean_output


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        raise XtuneError(message, f"{self.prog} --help says what it takes")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `xtune ARGV` and returns its exit code."""
    with clean_output(), clean_stop():
        return _run(list(sys.argv[1:] if argv is None else argv))


def _run(words: list[str]) -> int:
    try:
        return run(words)
    except XtuneError as error:
        print(f"xtune: error: {error.lines()}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        number = getattr(stopped, "number", signal.SIGINT)
        print("xtune: stopped" if number == signal.SIGINT else f"xtune: stopped by {number.name}", file=sys.stderr)
        return 128 + number
    except BrokenPipeError:  # `xtune list-cfg | head` closed our output: that is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # names that no file can have, links in a circle, rights, a full disk
        if os.environ.get("XTUNE_DEBUG") == "1" or not (error.filename or error.errno == errno.ENOSPC):
            raise
        failed = XtuneError(reason(error), "give another path, or make room or rights there")
        print(f"xtune: error: {failed.lines()}", file=sys.stderr)
        return 2


@contextmanager
def clean_stop() -> Iterator[None]:
    """SIGTERM and SIGHUP end a command as Ctrl-C does: what it was writing goes. nohup's SIGHUP stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    mine = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in mine:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)


def _stop(number: int, _: object) -> NoReturn:
    from xtune.dist.interrupts import Stopped

    raise Stopped(number)


def run(words: list[str]) -> int:
    """Dispatches to the subcommand; only that one's module is imported."""
    if not words or words[0] in ("-h", "--help"):
        print(overview(components()))
        return 0
    if words[0] in ("-V", "--version"):
        print(f"xtune {__version__}")
        return 0
    name, rest = words[0], words[1:]
    if name.startswith("-"):
        raise XtuneError(f"a command comes first: got `{name}`", "xtune --help lists them")
    # `plugins` reports what is wrong with plugins: none of them may keep it from running
    command = components([] if name == "plugins" else None).commands[name]
    parser = Parser(prog=f"xtune {name}", description=command.HELP)
    command.add_arguments(parser)
    return int(command.run(parser.parse_args(rest)) or 0)


def overview(found: Components) -> str:
    """The text of `xtune --help`: every command with its line."""
    commands = found.commands
    width = max(map(len, commands))
    lines = [f"  {name:{width}}  {commands[name].HELP}" for name in commands]
    return "\n".join(
        [
            "usage: xtune COMMAND ...",
            "",
            "Fine-tune large language models from named configs.",
            "",
            *lines,
            "",
            "xtune COMMAND --help says what a command takes.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
