"""Rows to conversations."""

from collections.abc import Mapping
from typing import Any

from xtune import Conversation, Turn
from xtune.mappers.columns import text


def hello(row: Mapping[str, Any], *, name: str = "name") -> Conversation:
    """A person and the greeting for that person. What follows the star are options, set in a config.

    >>> hello({"name": "Ada"}).turns
    (Turn(role='user', text='Say hello to Ada.', learn=None), Turn(role='assistant', text='Hello, Ada!', learn=None))
    """
    person = text(row, name)
    return Conversation((Turn("user", f"Say hello to {person}."), Turn("assistant", f"Hello, {person}!")))
