"""The rows that come with the package: many, different, in both languages, and all read."""

import re

import pytest

from xtune.mappers.alpaca import alpaca, self_identity
from xtune.mappers.auto import choose
from xtune.sources.source import open_source

CHINESE = re.compile("[\u4e00-\u9fff]")


def rows(name: str) -> list[dict]:
    return [row.values for row in open_source(f"package:xtune/catalogue/rows/{name}.jsonl")]


@pytest.mark.parametrize(("name", "number", "chinese"), [("self_identity", 90, 45), ("everyday", 120, 60)])
def test_half_of_the_rows_are_chinese_and_no_question_comes_twice(name: str, number: int, chinese: int) -> None:
    found = rows(name)
    asked = {(row["instruction"], row.get("input")) for row in found}
    assert len(found) == len(asked) == number
    assert sum(bool(CHINESE.search(row["instruction"])) for row in found) == chinese


def test_every_identity_row_has_something_to_fill_and_none_is_left() -> None:
    found = rows("self_identity")
    assert choose(list(found[0]), found[:1]) == "self_identity"
    for row in found:
        assert "{{name}}" in row["output"] or "{{author}}" in row["output"]
        answer = self_identity(row, name="Nova", author="Lake").turns[-1].text
        assert "{" not in answer and ("Nova" in answer or "Lake" in answer)


def test_everyday_rows_have_short_answers_and_no_identity() -> None:
    found = rows("everyday")
    assert choose(list(found[0]), found[:1]) == "alpaca"
    for row in found:
        answer = alpaca(row).turns[-1].text
        assert 0 < len(answer) < 200 and "{{" not in answer
