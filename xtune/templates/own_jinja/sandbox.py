"""Jinja as chat templates of others may use it: transformers' language, in which whatever grows is counted.

The language is that of transformers: the immutable sandbox, loop controls, `{% generation %}`, its `tojson`,
`raise_exception` and `strftime_now`. Functions and methods that no chat template needs are not there.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from datetime import datetime
from functools import partial
from types import BuiltinMethodType, MethodType
from typing import Any

from jinja2 import Template, nodes
from jinja2.exceptions import SecurityError, TemplateError, TemplateRuntimeError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.utils import Namespace
from markupsafe import Markup

from xtune.templates.own_jinja.filters import LAZY, filters, tests
from xtune.templates.own_jinja.meter import ESCAPED, Meter, TooMuch, index, key
from xtune.templates.own_jinja.rewrite import rewrite

LONGEST_DATE = 200
TEXT = {
    "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha", "isascii", "isdecimal",
    "isdigit", "islower", "isnumeric", "isspace", "istitle", "isupper", "join", "lower", "lstrip", "partition",
    "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "split",
    "splitlines", "startswith", "strip", "swapcase", "title", "upper",
}  # fmt: skip
LOOP = {
    "cycle", "depth", "depth0", "first", "index", "index0", "last", "length", "nextitem", "previtem", "revindex",
    "revindex0",
}  # fmt: skip
ATTRIBUTES: dict[type, set[str]] = {
    str: TEXT,
    Markup: TEXT,
    dict: {"get", "items", "keys", "values"},
    list: {"count", "index"},
    tuple: {"count", "index"},
    LoopContext: LOOP,
}
"""What a template may ask of a value of each type; a number has nothing to ask for."""


class Refused(TemplateError):
    """raise_exception() was called: the template itself does not take this conversation."""


class Formatting(partial[str]):
    """The method `format` of a text."""


class Sandbox(ImmutableSandboxedEnvironment):
    """`now` gives the time that strftime_now() writes. `macro_cost` is what a call of the template's macros costs."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
        self.meter = Meter()
        self.macro_cost = 0
        self.filters = filters(self.meter) | inserted(self.meter)
        self.tests = tests(self.meter)
        functions: dict[str, Any] = {
            "dict": make_dict,
            "namespace": Names,
            "raise_exception": partial(refuse, self.meter),
            "range": self.globals["range"],  # of 100,000 numbers at most
            "strftime_now": partial(strftime, now),
        }
        self.globals = dict(functions)
        self.functions = tuple(functions.values())

    def compiled(self, source: str) -> Template:
        """A chat template, counted. Raises whatever Jinja and Python raise for text that is none."""
        tree = self.parse(source)
        self.macro_cost = rewrite(tree)
        tree.set_environment(self)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # 1[0] is the template's fault, and fails as it runs
            return self.from_string(tree)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if obj.__class__ is Names:
            return not attr.startswith("_")
        return attr in ATTRIBUTES.get(obj.__class__, ())

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        if value.__class__ is BuiltinMethodType and value.__name__ == "format" and value.__self__.__class__ is str:
            return Formatting(Formatter(self).write, value.__self__)
        return None

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        if called.__class__ is BuiltinMethodType or called.__class__ is MethodType:
            kwargs.pop("_loop_vars", None)
            kwargs.pop("_block_vars", None)
            return self.meter.method(called, *args, **kwargs)
        if called.__class__ is Macro:
            self.meter.spend(self.macro_cost)
        elif not (called.__class__ is Formatting or isinstance(called, Undefined) or called in self.functions):
            raise SecurityError(f"a {called.__class__.__name__} cannot be called")
        return self.meter.charge(context.call(called, *args, **kwargs))

    def call_filter(self, name: Any, *args: Any, **kwargs: Any) -> Any:
        """A filter by a name that the template computes: map('trim')."""
        if not isinstance(name, str) or name.startswith("~") or name in LAZY:
            raise TemplateRuntimeError(f"no filter to map with: {key(name)!r}")
        return super().call_filter(name, *args, **kwargs)

    def call_test(self, name: Any, *args: Any, **kwargs: Any) -> Any:
        return super().call_test(key(name), *args, **kwargs)


def inserted(meter: Meter) -> dict[str, Callable[..., Any]]:
    """The meter's operations, as filters whose names no template can write; rewrite.py puts them where they count."""
    return {
        "~charge": meter.charge,
        "~concat": meter.concat,
        "~counted": meter.counted,
        "~drained": meter.drained,
        "~in": meter.contains,
        "~index": index,
        "~key": key,
        "~minus": meter.minus,
        "~modulo": meter.modulo,
        "~multiply": meter.multiply,
        "~out": meter.out,
        "~power": meter.power,
        "~read": meter.read,
        "~walked": meter.walked,
    }


class Generation(Extension):
    """{% generation %}, which marks what a model writes; the text is what it would be without."""

    tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("written"), [], [], body).set_lineno(line)

    def written(self, caller: Callable[[], str]) -> str:
        return caller()


class Formatter(SandboxedFormatter):
    """text.format(...)"""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox)
        self.meter = sandbox.meter

    def write(self, text: str, /, *args: Any, **kwargs: Any) -> str:
        return self.vformat(text, args, kwargs)

    def convert_field(self, value: Any, conversion: Any) -> Any:
        self.meter.weigh(value, times=ESCAPED)
        return super().convert_field(value, conversion)

    def format_field(self, value: Any, format_spec: str) -> Any:
        if any(len(digits) > 3 for digits in re.findall(r"\d+", format_spec)):
            raise TooMuch
        self.meter.weigh(value)
        return self.meter.charge(super().format_field(value, format_spec))


class Names(Namespace):
    """namespace(), without names that begin with an underscore, as transformers has it."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        values = make_dict(*args[1:], **kwargs)
        for name in values:
            public(name)
        Namespace.__init__(args[0], values)

    def __setitem__(self, name: str, value: Any) -> None:
        Namespace.__setitem__(self, public(name), value)


def public(name: Any) -> Any:
    if str(name).startswith("_"):
        raise SecurityError(f"a namespace takes no name that begins with _: {name!r}")
    return name


def make_dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    """dict()"""
    given = args[0] if args else {}
    pairs = given.items() if isinstance(given, dict) else [(key(name), value) for name, value in given]
    return dict(pairs, *args[1:], **kwargs)


def refuse(meter: Meter, message: Any) -> None:
    """raise_exception()"""
    raise Refused(meter.text(message))


def strftime(now: Callable[[], datetime], form: str) -> str:
    """strftime_now()"""
    if len(form) > LONGEST_DATE:
        raise TooMuch
    return now().strftime(form)
