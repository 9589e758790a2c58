"""Config files read as data. What they mean is what Python says: it runs the same text as an independent reference."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from xtune.config.literals import NotData, read_assignments
from xtune.config.plain import plain
from xtune.errors import ConfigError


def read(text: str) -> dict[str, Any]:
    return plain(read_assignments(text, "mine.py", lambda names: {}))


def by_python(text: str) -> dict[str, Any]:
    scope: dict[str, Any] = {}
    exec(text, scope)
    return {key: value for key, value in scope.items() if not key.startswith("__")}


@pytest.mark.parametrize(
    "text",
    [
        "a = None\nb = True, False\nc = (1,)\nd = [-1, +2.5, 1e-4, 'x' \"y\"]",
        "a = dict(x=1, y=dict(z=[1, (2, 3)]))\nb = {'x': a, 'y': {**a, 'x': 2}}\nc = dict(a, x=3)\nd = dict(**a, w=4)",
        "a = dict([('x', 1), ('y', 2)])\nb = list((1, 2))\nc = tuple([1, 2])\nd = dict()\ne = [*b, *c, 3]",
        "a = 2\nb = a * 3 + 1\nc = (b - a) / 4\nd = b // 2\ne = b % 4\nf = 2 ** 10\ng = 1 << 20",
        "a = 2\nh = -a ** 2\ni = not a",
        "a = 1 | 6\nb = {'x': 1} | {'y': 2}\nc = ~5\nd = 64 >> 2",
        "a = 'x' + 'y'\nb = 'ab' * 3\nc = [0] * 4\nd = [1] + [2]\ne = (1,) + (2,)",
        "a = 'm'\nb = f'{a}_{1 + 1:03d}_{0.5:.2e}_{a!r:>6}'\nc = '%s-%03d-%%' % (a, 7)",
        "d = '%(k)s' % dict(k=1)\ne = '%.1f' % 2",
        "a = dict(path='p', sizes=[1, 2])\nb = a['path'] + '/x'\nc = a['sizes'][-1]",
        '"""A docstring."""\na: int = 3\na += 4\na -= 1\nb = c = "z"\nb += "y"\npass\n"text"',
        "a = [1]\nb = [a, a]\na = 5\n_b = 7\n__c = 8",
        "dict = 3\na = [dict]",
    ],
)
def test_values_are_those_of_python(text):
    assert read(text) == by_python(text)
    assert repr(read(text)) == repr(by_python(text))


CODE = [
    "import os",
    "from os import path",
    "a = open('x')",
    "a = __import__('os').system('true')",
    "a = [x for x in (1, 2)]",
    "a = {x for x in (1, 2)}",
    "a = {1, 2}",
    "a = lambda: 1",
    "def f():\n    pass",
    "class A:\n    pass",
    "if True:\n    a = 1",
    "for a in [1]:\n    pass",
    "while True:\n    pass",
    "with open('x') as f:\n    pass",
    "a = 1 if 2 else 3",
    "a = 1 < 2",
    "a = 'x'.upper()",
    "a = 'x'.__class__",
    "a = ().__class__.__bases__[0].__subclasses__()",
    "a = dict.fromkeys([1])",
    "a = list\nb = a((1,))",
    "a = (b := 3)",
    "a = b'bytes'",
    "a = 1j",
    "a = ...",
    "a, b = 1, 2",
    "a = [1]\na[0] = 2",
    "a = [1]\na += [2]",
    "a = {}\na |= {'x': 1}",
    "a = [1, 2]\nb = a[0:1]",
    "a = range(3)",
    "a = float('1')",
    "a = '{}'.format(1)",
    "a = f'{open}'",
    "_base_ = []\n_base_ = []",
    "_base_: str = 'x.py'",
    "a = _base_ = 'x.py'",
    "print('hello')",
    "exec('a = 1')",
    "a = 1 @ 2",
    "assert False",
    "del a",
    "raise SystemExit",
    "async def f():\n    pass",
    "try:\n    a = 1\nfinally:\n    pass",
    "match 1:\n    case 1:\n        pass",
    "global a",
]


WATCHED: list[list[str]] = []


def watch(event: str, given: Any) -> None:
    if event.split(".")[0] in ("exec", "import", "open", "os", "subprocess", "socket", "ctypes"):
        for seen in WATCHED:
            seen.append(event)


sys.addaudithook(watch)


@pytest.mark.parametrize("text", CODE)
def test_code_is_refused_with_its_line_and_not_run(text, capsys):
    """Python itself tells, through its audit hooks, what was executed, imported or opened."""
    WATCHED.append([])
    try:
        with pytest.raises(NotData) as caught:
            read_assignments(f"x = 1\n{text}\n", "mine.py", lambda names: {})
    finally:
        seen = WATCHED.pop()
    line = str(caught.value)
    assert line.startswith("config mine.py, line ") and line.endswith("` is code, not data") and "\n" not in line
    assert seen == [] and capsys.readouterr() == ("", "")


def test_the_hook_sees_what_is_executed():
    sys.modules.pop("colorsys", None)
    WATCHED.append([])
    by_python("import colorsys\na = open('/dev/null').close()")
    assert {"exec", "import", "open"} <= set(WATCHED.pop())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = (1,\nb = 2", "line 1: '(' was never closed"),
        ("a = 1\nb = 1 / 0", "line 2: ZeroDivisionError: division by zero"),
        ("a = missing", "line 1: NameError: `missing` is not assigned above"),
        ("a = {}\nb = a['x']", "line 2: KeyError: 'x'"),
        ("a = [] + ()", "line 1: TypeError: can only concatenate list"),
        ("a = {[]: 1}", "line 1: TypeError: unhashable type"),
        ("a = '%d' % 'x'", "line 1: TypeError: %d format"),
        ("a = 1e308 * 10\nb = 9.0 ** 999", "line 2: OverflowError"),
        ("a = 'x\0y'", "line 1: source code string cannot contain null bytes"),
    ],
)
def test_what_python_would_not_take_is_told_with_the_line(text, told):
    with pytest.raises(ConfigError) as caught:
        read(text)
    line = str(caught.value)
    assert f"config mine.py{',' if told.startswith('line') else ''} {told}" in line and "\n" not in line


def growing(start: str, grow: str) -> str:
    """Eight names, each made of a hundred times the one before: up to 10 ** 16 values."""
    names = "abcdefghi"
    lines = [grow.replace("OLD", old) for old in names[:-1]]
    return f"a = {start}\n" + "".join(f"{new} = {line}\n" for new, line in zip(names[1:], lines, strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "a = 9 ** 9 ** 9",
        "a = 2 ** 2 ** 30",
        "a = 1 << 10 ** 9",
        "a = 'x' * 10 ** 10",
        "a = 10 ** 9 * [0]",
        "a = ([0] * 90_000) * 90_000",
        "a = '%999999999d' % 1",
        "a = '%.999999999f' % 1",
        "a = '%*d' % (999999999, 1)",
        "a = f'{1:999999999}'",
        "a = f'{1.5:.999999999f}'",
        "a = 9\nb = f'{1:{a}{a}{a}{a}{a}{a}{a}{a}}'",
        growing("[0] * 1000", "[" + "*OLD, " * 100 + "]"),
        growing("[0] * 10", "[" + "OLD, " * 100 + "]"),
        growing("{'x': 1}", "[" + "OLD, " * 100 + "]"),
        growing("[0] * 10", "[" + "OLD, " * 100 + "]") + "x = f'{i}'",
        growing("[0] * 10", "[" + "OLD, " * 100 + "]") + "x = '%s' % i",
        growing("'x' * 1000", "f'" + "{OLD}" * 100 + "'"),
        growing("'x' * 1000", "'" + "%s" * 100 + "' % (" + "OLD, " * 100 + ")"),
        growing("'x' * 1000", "'" + "%(k)s" * 100 + "' % dict(k=OLD)"),
        growing("'x' * 1000", "OLD * 100"),
        "a = " + "[" * 50 + "]" * 50,
        "a = " + "[" * 90_000,
        "a = " + "-" * 300_000 + "1",
        "a = " + "1+" * 300_000 + "1",
        "a = b" + "[0]" * 100_000,
        "a = " + "9" * 100_000,
        "a = 10 ** 80",
        "a = 1e400",
        "a = '\\ud800'",
        "a = {'\\ud800': 1}",
        "a = {1: 2}",
        "_base_ = []\na = _base_" + ".x" * 50_000,
    ],
    ids=lambda text: text[:30],
)
def test_bombs_end_in_one_line_at_once(text):
    begin = time.perf_counter()
    with pytest.raises(ConfigError) as caught:
        try:
            read(text)
        except ValueError as error:  # of plain, which the reader of files turns into a ConfigError
            raise ConfigError(str(error)) from error
    assert "NameError" not in str(caught.value), "the text means something else"
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500 and str(caught.value).isprintable()
    assert time.perf_counter() - begin < 5
