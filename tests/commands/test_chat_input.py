"""Questions that are piped to xtune chat: only answers come out, and what is wrong ends it."""

import io

import pytest

from xtune.commands.chat import talk
from xtune.errors import DataError, XtuneError


class Parrot:
    """Stands in for a Session: says what it is asked, and takes no more than ten letters."""

    def __init__(self):
        self.turns = []

    def ask(self, text, write):
        if len(text) > 10:
            raise XtuneError("too long")
        write(text)


def piped(monkeypatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def test_only_the_answers_are_printed(monkeypatch, capsys):
    piped(monkeypatch, "eins\n\n/new\n二\n/exit\nno more\n".encode())
    talk(Parrot())
    assert capsys.readouterr().out == "eins\n二\n"


def test_what_goes_wrong_is_raised(monkeypatch):
    piped(monkeypatch, b"longer than that\n")
    with pytest.raises(XtuneError, match="too long"):
        talk(Parrot())


def test_what_is_no_text_is_refused(monkeypatch):
    piped(monkeypatch, b"\xd1\x00\xff\n")
    with pytest.raises(DataError, match="questions should be UTF-8 text: got `byte 0xd1`; check what is piped in"):
        talk(Parrot())
