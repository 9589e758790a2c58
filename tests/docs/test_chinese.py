"""The Chinese README says what the English one says, as far as a test can see."""

from __future__ import annotations

import re

from pages import READMES, blocks, commands, lines

ENGLISH, CHINESE = READMES


def test_the_commands_are_the_same():
    assert lines(CHINESE) == lines(ENGLISH)
    assert len(commands(CHINESE)) > 3


def test_headings_and_blocks_are_as_many():
    def shape(page):
        return re.findall(r"^(#+) |^```", page.read_text(encoding="utf-8"), re.MULTILINE)

    assert shape(CHINESE) == shape(ENGLISH)


def test_each_block_has_as_many_lines():
    assert [block.text.count("\n") for block in blocks(CHINESE)] == [
        block.text.count("\n") for block in blocks(ENGLISH)
    ]
