"""Question-and-answer mappers: what is joined, what is empty, and what is refused."""

import datetime
import decimal

import pytest

from xtune.conversation import Turn
from xtune.errors import DataError
from xtune.mappers.alpaca import alpaca, alpaca_zh, self_identity
from xtune.mappers.builtin import MAPPERS
from xtune.mappers.single_turn import colors, default, law_reference, medical, sql


def said(row: dict, mapper=alpaca, **options) -> list[tuple[str, str]]:
    return [(turn.role, turn.text) for turn in mapper(row, **options).turns]


def test_alpaca_joins_instruction_and_input_by_one_line_end() -> None:
    assert said({"instruction": "Add.", "input": "2, 3", "output": "5"})[0] == ("user", "Add.\n2, 3")
    assert said({"instruction": "Add.", "input": "", "output": "5"})[0] == ("user", "Add.")
    assert said({"instruction": "", "input": "2 + 3?", "output": "5"})[0] == ("user", "2 + 3?")
    assert said({"instruction": "Add.", "output": "5"})[0] == ("user", "Add.")


def test_alpaca_keeps_white_space_system_and_history() -> None:
    row = {"instruction": " c ", "input": None, "output": " d\n", "system": "S", "history": [["a", "b"]]}
    assert said(row) == [("system", "S"), ("user", "a"), ("assistant", "b"), ("user", " c "), ("assistant", " d\n")]


@pytest.mark.parametrize("output", ["", None, " \n", "<nooutput>", float("nan")])
def test_a_row_without_an_answer_is_empty(output: object) -> None:
    assert alpaca({"instruction": "a", "input": "", "output": output}).turns == ()
    assert alpaca({"instruction": "a", "output": output, "history": [["x", "y"]]}).turns == ()


def test_a_row_without_a_question_is_empty() -> None:
    assert alpaca({"instruction": None, "input": "", "output": "a"}).turns == ()
    assert medical({"Question": None, "Answer": "merged cells leave this"}).turns == ()


def test_columns_are_options_and_may_be_chinese() -> None:
    row = {"病人的问题": "能喝咖啡吗？", "医生的回答": "少量可以。"}
    assert said(row, medical, question="病人的问题", answer="医生的回答") == [
        ("user", "能喝咖啡吗？"),
        ("assistant", "少量可以。"),
    ]
    assert said({"q": "a", "o": "b"}, alpaca_zh, instruction="q", output="o") == [("user", "a"), ("assistant", "b")]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (42, "42"),
        (0.5, "0.5"),
        (decimal.Decimal("1.10"), "1.10"),
        (datetime.date(2026, 3, 31), "2026-03-31"),
        (datetime.datetime(2026, 3, 31, 14, 30), "2026-03-31 14:30:00"),
    ],
)
def test_numbers_and_dates_become_their_text(value: object, text: str) -> None:
    assert default({"input": "?", "output": value}).turns[1].text == text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["a"], "column `output` should be text: got a list, ['a']; choose another column or mapper"),
        ({"a": 1}, "column `output` should be text: got an object, {'a': 1}; choose another column or mapper"),
        (True, "column `output` should be text: got true or false, True; choose another column or mapper"),
        (b"\xff", "column `output` should be text: got bytes, b'\\xff'; choose another column or mapper"),
        ("a\0b", "column `output` holds a NUL character: got `'a\\x00b'`; clean the text"),
        ("\ud83d!", "column `output` holds half a surrogate pair: got `'\\ud83d!'`; clean the text"),
    ],
)
def test_other_values_are_refused_with_column_expected_and_found(value: object, message: str) -> None:
    with pytest.raises(DataError) as caught:
        default({"input": "?", "output": value})
    assert str(caught.value) == message


def test_a_long_value_is_shortened_in_the_error() -> None:
    with pytest.raises(DataError) as caught:
        default({"input": ["x" * 10_000_000], "output": ""})
    assert len(str(caught.value)) < 200


def test_a_missing_column_names_those_there_and_the_mapper_that_reads_them() -> None:
    with pytest.raises(DataError) as caught:
        medical({"instruction": "a", "input": "", "output": "b"})
    assert str(caught.value) == (
        "column `Question` is missing: got columns 'instruction', 'input', 'output'; --mapper alpaca reads these"
    )
    with pytest.raises(DataError, match="got columns 'x'; name the columns in the mapper's options"):
        medical({"x": 1})
    with pytest.raises(DataError, match="got columns none; "):
        alpaca({})


@pytest.mark.parametrize("pair", ["ab", ["a"], 3, None])
def test_a_history_that_is_no_list_of_pairs_is_refused(pair: object) -> None:
    with pytest.raises(
        DataError, match=r"column `history, pair 1` should be \[question, answer\]: got .*; write two texts there"
    ):
        alpaca({"instruction": "a", "output": "b", "history": [pair]})


def test_self_identity_fills_both_places_in_question_and_answer() -> None:
    row = {"instruction": "Are you {{name}}?", "output": "I am {{name}} of {{author}}; {{other}} stays."}
    assert said(row, self_identity, name="Nova", author="Lake") == [
        ("user", "Are you Nova?"),
        ("assistant", "I am Nova of Lake; {{other}} stays."),
    ]
    assert said(row, self_identity, name=2048, author="Lake")[0] == ("user", "Are you 2048?")


def test_self_identity_without_a_value_for_a_place_is_refused() -> None:
    row = {"instruction": "Who?", "output": "{{name}} of {{author}}"}
    with pytest.raises(DataError) as caught:
        self_identity(row, name="Nova")
    assert str(caught.value) == "a row has {{author}} to fill: got no author; set the mapper's option author="


def test_colors_drops_the_name_before_the_first_colon_only() -> None:
    assert colors({"description": "Sky: blue: clear", "color": "#00f"}).turns[1].text == "blue: clear"
    assert colors({"description": "plain", "color": "#00f"}).turns[1].text == "plain"


def test_domain_mappers_write_their_system_message() -> None:
    assert law_reference({"question": "a", "answer": "b"}).turns[0] == Turn(
        "system", "你现在是一名专业的中国律师，请根据用户的问题给出准确、有理有据的回复。\n"
    )
    assert sql({"context": "C", "question": "Q", "answer": "A"}).turns[1] == Turn("user", "C\nQ")


def test_mappers_do_not_change_the_row() -> None:
    row = {"instruction": "a {{name}}", "input": "b", "output": "c"}
    before = dict(row)
    MAPPERS["self_identity"](row, name="N")
    assert row == before
