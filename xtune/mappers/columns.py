"""Reading a row's columns: text, or the one error line that says which column holds what instead."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from xtune.conversation import Conversation, Turn
from xtune.errors import DataError

Row = Mapping[str, Any]

EMPTY = Conversation(())
"""What a mapper makes of a row without a question or without an answer; it is counted, and not trained on."""

_AS_TEXT = (int, float, Decimal, datetime, date, time)


def text(row: Row, column: str) -> str:
    """The text of a column that must be there. None and NaN are empty; numbers and dates become their text.

    Raises DataError where the column is missing, holds a list, an object, bytes or a truth value, or text that no
    tokenizer takes (half a surrogate pair, a NUL character).
    """
    try:
        value = row[column]
    except KeyError:
        raise missing(row, column) from None
    return as_text(value, column)


def optional_text(row: Row, column: str) -> str:
    """As `text`, and empty where the column is missing."""
    return as_text(row.get(column), column)


def as_text(value: Any, column: str) -> str:
    """The text of one value; see `text`. `column` is named in errors."""
    if type(value) is str:
        if "\0" in value:
            raise DataError(f"column `{column}` holds a NUL character: got `{_short(value)}`", "clean the text")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise DataError(
                    f"column `{column}` holds half a surrogate pair: got `{_short(value)}`", "clean the text"
                ) from None
        return value
    if value is None or (type(value) is float and value != value):  # tables write NaN for nothing
        return ""
    if isinstance(value, _AS_TEXT) and not isinstance(value, bool):
        return str(value)
    raise DataError(f"column `{column}` should be text: got {describe(value)}", "choose another column or mapper")


def items(row: Row, column: str) -> list[Any]:
    """The list in a column that must be there; None is an empty one. Raises DataError for anything else."""
    try:
        value = row[column]
    except KeyError:
        raise missing(row, column) from None
    if value is None:
        return []
    if not isinstance(value, list):
        raise DataError(f"column `{column}` should be a list: got {describe(value)}", "choose another column or mapper")
    return value


def object_in(row: Row, column: str, names: str, where: str = "") -> dict[str, Any]:
    """The object in a column that must be there; `names` are its keys. Raises DataError for anything else."""
    if column not in row:
        raise missing(row, column)
    value = row[column]
    if not isinstance(value, dict):
        raise DataError(f"column `{where or column}` should be an object: got {describe(value)}", f"give it {names}")
    return value


def describe(value: Any) -> str:
    """What `value` is, in words and shortened, for an error line."""
    kinds = {
        list: "a list",
        dict: "an object",
        str: "text",
        bool: "true or false",
        bytes: "bytes",
        int: "a number",
        float: "a number",
        type(None): "null",
    }
    kind = kinds.get(type(value), f"a {type(value).__name__}")
    return kind if value is None else f"{kind}, {_short(value)}"


def missing(row: Row, column: str) -> DataError:
    """The error for a column that is not there; names the mapper that reads those that are, if there is one."""
    from xtune.mappers.auto import reads  # which knows every mapper's columns: only errors need them

    there = ", ".join(repr(str(name)) for name in row) or "none"
    names = reads(row)
    advice = f"--mapper {names[0]} reads these" if names else "name the columns in the mapper's options"
    return DataError(f"column `{column}` is missing: got columns {there[:300]}", advice)


def blank(value: str) -> bool:
    """Whether there is nothing but white space in `value`."""
    return not value or value.isspace()


def exchange(question: str, answer: str, system: str = "") -> Conversation:
    """One question and its answer; EMPTY where either is blank."""
    if blank(question) or blank(answer):
        return EMPTY
    turns = (Turn("user", question), Turn("assistant", answer))
    return Conversation((Turn("system", system), *turns) if system else turns)


def _short(value: Any) -> str:
    try:
        shown = repr(value[:60] if isinstance(value, (str, bytes)) else value)
    except RecursionError:
        return "nested too deep to show"
    return shown if len(shown) <= 60 else shown[:60] + "..."
