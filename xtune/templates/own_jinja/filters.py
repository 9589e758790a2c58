"""The filters and tests that chat templates of others may use. What no chat template needs is not there (center, batch,
pprint, ...); what makes more than it is given counts it first.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from jinja2 import pass_context, pass_environment, pass_eval_context
from jinja2.filters import FILTERS
from jinja2.tests import TESTS
from markupsafe import Markup, escape

from xtune.templates.own_jinja.meter import EACH, ESCAPED, LISTS, Meter, TooMuch, key, path

WIDEST = 16
"""An indent, and what stands between the parts of JSON."""
LAZY = {"items", "map", "reject", "rejectattr", "select", "selectattr", "unique"}
"""Filters that make their values one by one."""
SAME = {"abs", "count", "d", "default", "first", "float", "int", "items", "last", "length", "reverse"}
SAME_TESTS = {
    "boolean", "callable", "defined", "escaped", "false", "float", "integer", "iterable", "mapping", "none", "number",
    "sameas", "sequence", "string", "true", "undefined",
}  # fmt: skip
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": eq, "equalto": eq, "==": eq, "ne": ne, "!=": ne, "gt": gt, "greaterthan": gt, ">": gt, "ge": ge, ">=": ge,
    "lt": lt, "lessthan": lt, "<": lt, "le": le, "<=": le,
}  # fmt: skip


def tests(meter: Meter) -> dict[str, Any]:
    def comparison(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def test(value: Any, other: Any) -> Any:
            if value.__class__ is not str or len(value) > EACH:
                meter.read(value)
            return compare(value, other)

        return test

    return {
        **{name: TESTS[name] for name in SAME_TESTS},
        **{name: comparison(compare) for name, compare in COMPARISONS.items()},
        "in": meter.contains,
        "odd": lambda value: meter.modulo(value, 2) == 1,
        "even": lambda value: meter.modulo(value, 2) == 0,
        "divisibleby": lambda value, by: meter.modulo(value, by) == 0,
    }


def filters(meter: Meter) -> dict[str, Any]:
    own = Filters(meter)
    return {
        **{name: FILTERS[name] for name in SAME},
        **{name: own.of_text(name) for name in ("capitalize", "lower", "upper")},
        **{name: own.of_list(name) for name in ("dictsort", "max", "min", "sort")},
        **{name: own.of_items(name) for name in ("map", "reject", "rejectattr", "select", "selectattr")},
        "e": own.escaped,
        "escape": own.escaped,
        "format": own.formatted,
        "indent": own.indented,
        "join": own.joined,
        "list": own.listed,
        "replace": own.replaced,
        "round": own.rounded,
        "safe": own.marked,
        "string": meter.text,
        "title": own.titled,
        "tojson": own.json,
        "trim": own.trimmed,
        "unique": own.unique,
    }


class Filters:
    """Jinja's own, counted. Those of text take other values as text, as Jinja does."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def of_text(self, name: str) -> Callable[..., Any]:
        return lambda value: FILTERS[name](self.meter.text(value))

    def of_list(self, name: str) -> Callable[..., Any]:
        """A filter that compares values."""

        @pass_environment
        def run(environment: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
            for argument in (*args, *kwargs.values()):
                path(argument)
            given = () if name == "dictsort" else (environment,)
            return FILTERS[name](*given, self.weighed(value), *args, **kwargs)

        return run

    def of_items(self, name: str) -> Callable[..., Any]:
        """A filter that looks at an attribute of each value, or at each value."""

        @pass_context
        def run(context: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
            for argument in (*args[:1], kwargs.get("attribute")):
                path(argument)
            return FILTERS[name](context, value, *args, **kwargs)

        return run

    def weighed(self, value: Any) -> Any:
        """Values that are compared with one another."""
        values = value if value.__class__ in LISTS or isinstance(value, (str, dict)) else list(value)
        self.meter.weigh(values, times=16)
        return values

    @pass_environment
    def unique(self, environment: Any, value: Any, case_sensitive: bool = False) -> Any:
        values = [key(item) for item in self.weighed(value)]
        self.meter.spend(len(values) ** 2)  # numbers may be chosen so that each is looked for beside all others
        return FILTERS["unique"](environment, values, case_sensitive)

    def listed(self, value: Any) -> list[Any]:
        if isinstance(value, str):
            self.meter.spend(EACH * len(value))
        return list(value)

    @pass_eval_context
    def joined(self, context: Any, value: Any, d: Any = "", attribute: Any = None) -> Any:
        values = value if value.__class__ in LISTS else list(value)
        self.meter.weigh(values)
        self.meter.spend(len(values) * len(self.meter.text(d)))
        return FILTERS["join"](context, values, d, path(attribute))

    def escaped(self, value: Any) -> Any:
        return escape(self.meter.text(value))

    def marked(self, value: Any) -> Any:
        return Markup(self.meter.text(value))

    def formatted(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return self.meter.modulo(self.meter.text(value), kwargs or args)

    def indented(self, value: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> Any:
        text = self.meter.text(value)
        self.meter.spend(len(text) * (EACH + narrow(width)))
        return FILTERS["indent"](text, width, first, blank)

    def replaced(self, value: Any, old: Any, new: Any, count: int | None = None) -> str:
        text, old, new = (str(self.meter.text(part)) for part in (value, old, new))
        return str(self.meter.method(text.replace, old, new, -1 if count is None else count))

    def rounded(self, value: Any, precision: int = 0, method: Any = "common") -> Any:
        self.meter.number(abs(precision))
        return FILTERS["round"](value, precision, method)

    def titled(self, value: Any) -> Any:
        text = self.meter.text(value)
        self.meter.spend(EACH * len(text))
        return FILTERS["title"](text)

    def trimmed(self, value: Any, chars: Any = None) -> Any:
        text = self.meter.text(value)
        return text.strip() if chars is None else self.meter.method(text.strip, chars)

    def json(
        self,
        value: Any,
        ensure_ascii: bool = False,
        indent: Any = None,
        separators: Any = None,
        sort_keys: bool = False,
    ) -> str:
        """As transformers writes it, without marks for HTML."""
        for text in separators or ():
            narrow(text)
        self.meter.weigh(value, times=ESCAPED, indent=narrow(indent or 0))
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def narrow(width: int | str) -> int:
    """How many letters a width is."""
    letters = len(width) if isinstance(width, str) else int(width)
    if letters > WIDEST:
        raise TooMuch
    return letters
