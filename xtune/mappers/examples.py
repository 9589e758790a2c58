"""Example rows of a mapper, read from its docstring, so that they are documentation, test and data in one."""

from __future__ import annotations

import ast
import doctest
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple


class Example(NamedTuple):
    """A row that a mapper reads, and the options that it needs for it."""

    row: dict[str, Any]
    options: dict[str, Any]


def examples(mapper: Callable[..., Any]) -> list[Example]:
    """The rows with which a mapper's doctests call it; none where it has no doctest, as a plugin's may."""
    while isinstance(mapper, partial):
        mapper = mapper.func
    found = []
    for example in doctest.DocTestParser().get_examples(mapper.__doc__ or ""):
        for node in ast.walk(ast.parse(example.source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == mapper.__name__:
                options = {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
                found.append(Example(ast.literal_eval(node.args[0]), options))
    return found
