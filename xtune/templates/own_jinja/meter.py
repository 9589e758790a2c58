"""What a chat template of others may use up: each value it makes, reads or walks over is counted, and counted before it
is made where it may be much larger than what it is made of.

A unit is about a byte and about a nanosecond, so that one number bounds memory, output and time, and bounds them alike
on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from operator import length_hint
from typing import Any

from jinja2.exceptions import TemplateRuntimeError
from jinja2.runtime import Undefined

EACH = 64
"""What a value costs, and each part of a container, whatever is in it."""
SCALAR = {str, int, float, bool, type(None), range, Undefined}
VIEWS = {type({}.keys()), type({}.values()), type({}.items())}
LISTS = {list, tuple, *VIEWS}
SIZED = {dict, str, range}
PADDED = re.compile(r"%[^a-zA-Z%]*(?:\*|\d{4})")
"""A field of a %-format that pads to thousands of letters, or to a width that a value gives."""
ESCAPED = 8
"""How much longer text can be where its letters are written as escapes: in JSON, and in a list that is written."""
DRAWN = 200
"""What it costs besides to look at a value and to filter it by name."""
LONGEST_INT = 1024
"""In bits: that of the largest float."""
LONGEST_PATH = 1000
NOTHING = object()


class TooMuch(Exception):
    """A chat template uses up more than it may."""


class Meter:
    """What is left, and the operations that draw on it. Negative where no template is rendered."""

    def __init__(self) -> None:
        self.left = -1
        self.more: Callable[[], int] | None = None

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            self.exhausted()

    def exhausted(self) -> None:
        """Adds, once, what a large conversation needs; else raises TooMuch."""
        more, self.more = self.more, None
        if more is not None:
            self.left += more()
        if self.left < 0:
            raise TooMuch

    def charge(self, value: Any) -> Any:
        """A value that was just made, and is not much larger than what it was made of."""
        self.left -= EACH + (len(value) if value.__class__ is str else size(value))
        if self.left < 0:
            self.exhausted()
        return value

    def walked(self, values: Any, cost: int) -> Any:
        """The values of a loop that takes them all, and whose body costs so much."""
        if not (values.__class__ in LISTS or values.__class__ in SIZED):
            return self.counted(values, cost)
        self.spend(cost * len(values))
        return values

    def counted(self, values: Iterable[Any], cost: int) -> Iterator[Any]:
        """The values of a loop that may end early."""
        for value in values:
            self.left -= cost
            if self.left < 0:
                self.exhausted()
            yield value

    def drained(self, values: Iterable[Any]) -> Iterator[Any]:
        """The values of a lazy filter. They are made now: lazy filters in one another are nested without end."""
        made = []
        for value in values:
            self.left -= DRAWN
            if self.left < 0:
                self.exhausted()
            made.append(value if value.__class__ is dict else self.charge(value))  # no filter makes a dict
        return iter(made)

    def weigh(self, value: Any, times: int = 1, indent: int = 0) -> None:
        """A value with all its parts, each as often as it stands there: to be written, compared, sorted.

        A part costs `indent` more for each container around it. Raises TemplateRuntimeError for what is no data.
        """
        parts, around = [value], 0
        while parts:
            within: list[Any] = []
            for part in parts:
                kind, cost = part.__class__, EACH + around
                if isinstance(part, str):
                    cost += len(part)
                elif kind is dict:
                    cost += 2 * EACH * len(part)
                    within += chain(part, part.values())
                elif kind in LISTS:
                    cost += EACH * len(part)
                    within += part
                elif kind not in SCALAR:
                    raise TemplateRuntimeError(f"{kind.__name__} is neither text, number, list nor dict")
                self.spend(cost * times)
            parts, around = within, around + indent

    def read(self, value: Any) -> Any:
        """A value that is compared."""
        if value.__class__ is str:
            self.spend(len(value) >> 2)
        elif value.__class__ is dict or value.__class__ in LISTS:
            self.weigh(value)
        return value

    def contains(self, part: Any, whole: Any) -> bool:
        """part in whole"""
        kind = whole.__class__
        if kind is dict:
            return key(part) in whole
        if isinstance(whole, str):
            self.spend(len(whole) >> 2)
        elif kind in LISTS:
            if kind in VIEWS:
                key(part)
            self.weigh(whole)
        else:
            self.weigh(part, times=length_hint(whole, 1))
        return part in whole

    def text(self, value: Any) -> str:
        """The value as text."""
        if isinstance(value, str):
            return value
        if value.__class__ not in SCALAR:
            self.weigh(value, times=ESCAPED)
        return str(value)

    def out(self, value: Any) -> str:
        """A value that is written."""
        if value.__class__ is not str:
            value = str(self.text(value))
        self.left -= EACH + len(value)
        if self.left < 0:
            self.exhausted()
        return value

    def concat(self, *values: Any) -> str:
        """a ~ b"""
        return self.out("".join([value if value.__class__ is str else str(self.text(value)) for value in values]))

    def multiply(self, left: Any, right: Any) -> Any:
        """left * right"""
        for many, times in ((left, right), (right, left)):
            if isinstance(many, (str, list, tuple)) and isinstance(times, int):
                self.spend(8 * len(many) * max(times, 0))
        if isinstance(left, int) and isinstance(right, int):
            self.number(left.bit_length() + right.bit_length())
        return left * right

    def minus(self, left: Any, right: Any) -> Any:
        """left - right"""
        if left.__class__ in VIEWS:
            raise TemplateRuntimeError("the keys of a dict cannot be subtracted from")
        return left - right

    def method(self, called: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """value.method(...)"""
        value, name = called.__self__, called.__name__  # type: ignore[attr-defined]
        if isinstance(value, str):
            self.spend(len(value) >> 2)
            if name == "join":  # what is joined may be made one by one
                args = (list(args[0]), *args[1:])
                self.weigh(args[0])
                self.spend(len(value) * len(args[0]))
            elif name in GROWTH:
                self.spend(GROWTH[name](value, *args, **kwargs))
        elif isinstance(value, (list, tuple)):
            self.weigh((value, *args))
        elif isinstance(value, dict):
            args = (*(key(name) for name in args[:1]), *args[1:])
        return self.charge(called(*args, **kwargs))

    def power(self, left: Any, right: Any) -> Any:
        """left ** right"""
        if isinstance(left, int) and isinstance(right, int):
            self.number(left.bit_length() * abs(right))
        return left**right

    def number(self, bits: int) -> None:
        if bits > LONGEST_INT:
            raise TooMuch

    def modulo(self, left: Any, right: Any) -> Any:
        """left % right, which formats where left is text"""
        if left.__class__ is int:
            return left % right
        if isinstance(left, str):
            if PADDED.search(left) or ("%(" in left and re.search(r"\*|\d{4}", left)):
                raise TooMuch
            fields = left.count("%")
            self.weigh(right, times=fields + 1)
            self.spend(1000 * fields)
        return self.charge(left % right)


def of_parts(text: str, sep: str | None = None, maxsplit: int = -1) -> int:
    return EACH * (text.count(sep) if sep else len(text) // 2)


def of_lines(text: str, keepends: bool = False) -> int:
    return EACH * len(text)


def of_strip(text: str, chars: str | None = None) -> int:
    return len(text) * (len(chars or "") >> 6)


def of_replace(text: str, old: str, new: str, count: int = -1) -> int:
    return text.count(old) * max(len(new) - len(old), 0)


GROWTH: dict[str, Callable[..., int]] = {
    "lstrip": of_strip,
    "replace": of_replace,
    "rsplit": of_parts,
    "rstrip": of_strip,
    "split": of_parts,
    "splitlines": of_lines,
    "strip": of_strip,
}
"""What a text's method costs beyond the length of the text."""


def size(value: Any) -> int:
    """About how many bytes a value takes, without its parts."""
    kind = value.__class__
    if kind in LISTS or kind is range:
        return len(value) * 8
    if kind is int and value.bit_length() > LONGEST_INT:
        raise TooMuch
    return EACH * len(value) if kind is dict else len(value) if isinstance(value, str) else 0


def key(value: Any) -> Any:
    """A key of a dict: a text or a number. Python hashes tuples in tuples without a limit of depth, and crashes."""
    if isinstance(value, (tuple, list, dict)):
        raise TemplateRuntimeError(f"a {type(value).__name__} cannot be a key")
    return value


def index(value: Any) -> Any:
    """What follows in brackets. No list has an item at a list, and no dict of JSON a key that is one."""
    return NOTHING if value.__class__ not in SCALAR and isinstance(value, (tuple, list, dict)) else value


def path(value: Any) -> Any:
    """A dotted path to an attribute, which is followed for every item of a list."""
    if isinstance(value, str) and len(value) > LONGEST_PATH:
        raise TooMuch
    return key(value)
