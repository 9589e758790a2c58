"""The text of a Python file -> its values, by walking the syntax tree. Nothing of the file is run."""

from __future__ import annotations

import ast
import builtins
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

from xtune.config.plain import MAX_BITS, MAX_VALUES
from xtune.errors import ConfigError
from xtune.foreign import foreign
from xtune.text import one_line

BASE = "_base_"
COMPARE = "xtune copy-cfg NAME DIR writes one to compare with"
MAX_TEXT = 2**20
TYPES = {"dict": dict, "list": list, "tuple": tuple}
UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Invert: operator.invert,
}
BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitOr: operator.or_,
}
FORMAT = re.compile(r"([^%]|%(\(\w+\))?[-+ #0]{0,5}\d{0,3}(\.\d{0,2})?[sdifegrxXoc%])*")
"""Text for the operator %, without widths that fill the memory."""
NARROW = "a width of a formatted value has at most three digits"
CONVERSIONS: dict[int, Callable[[Any], Any]] = {-1: lambda value: value, ord("s"): str, ord("r"): repr, ord("a"): ascii}


Bases = Callable[[Any], dict[str, Any]]
"""Reads and merges the files that the value of `_base_` names."""


class NotData(ConfigError):
    """A config file is more than values: only Python could say what it means."""


class Unfit(Exception):
    """An expression or a statement that is no data."""


def parse(text: str, where: str) -> ast.Module:
    """The syntax tree of a config file. Raises ConfigError."""
    with foreign(f"config {where} cannot be read", ConfigError, COMPARE):
        try:
            return ast.parse(text)
        except SyntaxError as error:
            raise ConfigError(f"config {where}, line {error.lineno or 1}: {error.msg}", COMPARE) from error


def read_assignments(text: str, where: str, bases: Bases) -> dict[str, Any]:
    """Names to values, of a file that assigns values to names.

    A value is made of literals, dict(), list() and tuple(), names assigned above, entries of those (`x["key"]`),
    arithmetic and formatting. `bases` merges the files that `_base_` names; `_base_.key.key` reads from them.
    Raises NotData for anything else, and ConfigError for what is wrong by Python's own rules; both name the line.
    """
    names: dict[str, Any] = {}
    for statement in parse(text, where).body:
        with foreign(f"config {where}, line {statement.lineno}", ConfigError, COMPARE):
            try:
                _run(statement, names, bases)
            except Unfit as error:
                node = error.args[0] if isinstance(error.args[0], ast.expr) else statement
                code = one_line(ast.get_source_segment(text, node) or "", 60)
                raise NotData(f"config {where}, line {node.lineno}: `{code}` is code, not data") from None
    names.pop(BASE, None)
    return {name: value for name, value in names.items() if not name.startswith("__")}


def _run(statement: ast.stmt, names: dict[str, Any], bases: Bases) -> None:
    targets: Sequence[ast.expr]
    match statement:
        case ast.Pass() | ast.Expr(value=ast.Constant()):
            return
        case ast.Assign(targets=[ast.Name(id="_base_")], value=value) if BASE not in names:
            names[BASE] = bases(_value(value, names))
            return
        case ast.Assign(targets=targets, value=value):
            made = _value(value, names)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            targets, made = [target], _value(value, names)
        case ast.AugAssign(target=target, op=op, value=value) if type(op) in BINARY:
            before = _value(target, names)
            if isinstance(before, (list, dict)):  # Python would change it under its other names too
                raise Unfit(statement)
            targets, made = [target], _binary(op, before, _value(value, names))
        case _:
            raise Unfit(statement)
    for place in targets:
        if not isinstance(place, ast.Name) or place.id == BASE:
            raise Unfit(statement)
        names[place.id] = made


def _value(node: ast.expr, names: dict[str, Any]) -> Any:
    match node:
        case ast.Constant(value=None | bool() | int() | float() | str() as value):
            return value
        case ast.Name(id=name):
            if name in names:
                return names[name]
            if not hasattr(builtins, name):
                raise NameError(f"`{name}` is not assigned above")
        case ast.List(elts=items):
            return _items(items, names)
        case ast.Tuple(elts=items):
            return tuple(_items(items, names))
        case ast.Dict(keys=keys, values=values):
            return _dict(keys, values, names)
        case ast.Call(func=ast.Name(id=name), args=given, keywords=words) if name in TYPES and name not in names:
            keys = [ast.Constant(word.arg) if word.arg else None for word in words]
            named = _dict(keys, [word.value for word in words], names)
            return TYPES[name](*_items(given, names), **named)
        case ast.UnaryOp(op=op, operand=operand):
            return UNARY[type(op)](_value(operand, names))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            return _binary(op, _value(left, names), _value(right, names))
        case ast.JoinedStr(values=parts):
            return _joined(parts, names)
        case ast.Subscript(value=inner, slice=index) if not isinstance(index, ast.Slice):
            return _value(inner, names)[_value(index, names)]
        case ast.Attribute(value=inner, attr=name) if _of_base(inner):
            return _value(inner, names)[name]
    raise Unfit(node)


def _of_base(node: ast.expr) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and node.id == BASE


def _items(nodes: list[ast.expr], names: dict[str, Any]) -> list[Any]:
    made: list[Any] = []
    for node in nodes:
        made += _value(node.value, names) if isinstance(node, ast.Starred) else [_value(node, names)]
        _bound(len(made), text=False)
    return made


def _dict(keys: Sequence[ast.expr | None], values: list[ast.expr], names: dict[str, Any]) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for key, value in zip(keys, values, strict=True):
        made |= _value(value, names) if key is None else {_value(key, names): _value(value, names)}
    return made


def _binary(op: ast.operator, left: Any, right: Any) -> Any:
    """`left op right`, where it is a number, text or a sequence of moderate size; Python's own error otherwise."""
    if isinstance(op, ast.Mod) and isinstance(left, str):
        parts = right if isinstance(right, tuple) else right.values() if isinstance(right, dict) else (right,)
        if not FORMAT.fullmatch(left):
            raise ValueError(NARROW)
        _bound(len(left) + left.count("%") * max(map(_width, parts), default=0), text=True)
    sizes = [len(side) for side in (left, right) if isinstance(side, (str, list, tuple))]
    times = [side for side in (left, right) if isinstance(side, int)]
    if isinstance(op, ast.Mult) and sizes and times:
        _bound(sizes[0] * times[0], text=isinstance(left, str) or isinstance(right, str))
    elif sizes:
        _bound(sum(sizes), text=isinstance(left, str))
    if isinstance(op, (ast.Pow, ast.LShift)) and len(times) == 2:
        bits = right if isinstance(op, ast.LShift) else right * max(left.bit_length() - 1, 0)
        if bits > MAX_BITS:
            raise ValueError("the number is too large")
    made = BINARY[type(op)](left, right)
    if isinstance(made, int) and made.bit_length() > MAX_BITS:
        raise ValueError("the number is too large")
    return made


def _bound(size: int, *, text: bool) -> None:
    if size > (MAX_TEXT if text else MAX_VALUES):
        raise ValueError("the text or list is too long")


def _joined(parts: list[ast.expr], names: dict[str, Any]) -> str:
    """The text of an f-string."""
    made = ""
    for part in parts:
        if isinstance(part, ast.FormattedValue):
            value = _value(part.value, names)
            spec = _joined([part.format_spec], names) if part.format_spec else ""
            if re.search(r"\d{4}", spec):
                raise ValueError(NARROW)
            _bound(len(made) + _width(value), text=True)
            made += format(CONVERSIONS[part.conversion](value), spec)
        else:
            made += _value(part, names)
    return made


def _width(value: Any) -> int:
    """About how much text a number or a text is. Raises ValueError for what holds other values."""
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise ValueError("only numbers and text can be formatted")
    return len(value) if isinstance(value, str) else MAX_BITS
