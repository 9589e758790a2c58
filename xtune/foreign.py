"""The one door for what others made: their JSON files, and what their code raises."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xtune.errors import XtuneError
from xtune.text import one_line, shown

MAX_BYTES = 2**25
MAX_DEPTH = 100
MAX_DIGITS = 64
"""Of a whole number. `model_max_length` of many tokenizers has 31."""
ANOTHER = "write the file again, or give another one"
PLAINER = {
    "model_type": "be a section with keys",
    "dict_type": "be a section with keys",
    "too_short": "have at least one entry",
}
"""What a value should do, in place of pydantic's own words, by its kinds of errors."""


@contextmanager
def foreign(what: str, error: type[XtuneError], hint: str) -> Iterator[None]:
    """Turns whatever the code inside raises into one `error`: "`what`: the reason", and `hint`.

    Around code of others, which may raise anything: also SystemExit, and a panic of a library in Rust, which is no
    Exception. Errors of ours pass, and so does KeyboardInterrupt: what a signal raises has to be a subclass of it.
    """
    try:
        yield
    except (XtuneError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as caught:
        raise error(f"{what}: {reason(caught)}", hint) from caught


def reason(error: BaseException) -> str:
    """What an error of others says, in one line of limited length; its type too where its text says little alone."""
    try:
        text = one_line(str(error))
    except Exception:  # str() of an exception is code of others too
        text = ""
    if isinstance(error, OSError) and error.strerror:
        return one_line(f"{error.strerror}: {error.filename}" if error.filename else error.strerror)
    speaks = isinstance(error, (OSError, ValueError, RuntimeError, ImportError))
    if text and speaks:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def read_json(
    path: str | Path,
    *,
    what: str,
    error: type[XtuneError],
    hint: str = ANOTHER,
    shape: Any = dict[str, Any],
    lenient: bool = False,
    limit: int = MAX_BYTES,
) -> Any:
    """The value in a JSON file that somebody else may have written or damaged; see parse_json.

    Raises `error`, one line that begins with `what` and the path, also for what is no file (a FIFO would never end)
    and for more than `limit` bytes.
    """
    where = f"{what} `{path}`"
    with foreign(f"{where} cannot be read", error, hint):
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise error(f"{where} is not a file", hint)
        with open(path, "rb") as file:
            raw = file.read(limit + 1)
    if len(raw) > limit:
        raise error(f"{where} has more than {limit:,} bytes", hint)
    return parse_json(raw, where=where, error=error, hint=hint, shape=shape, lenient=lenient)


def parse_json(
    raw: bytes | str,
    *,
    where: str,
    error: type[XtuneError],
    hint: str = ANOTHER,
    shape: Any = dict[str, Any],
    lenient: bool = False,
) -> Any:
    """The value that JSON text spells, of the type `shape` (whatever pydantic takes: `list[str]`, a model, `Any`).

    Refused: other encodings than UTF-8, nesting beyond MAX_DEPTH, whole numbers of more than MAX_DIGITS, halves of
    characters; and, but for `lenient`, a key that stands twice and numbers that are not finite. `lenient` is for files
    that another library reads by those rules. Raises `error`, one line that begins with `where` and names the field.
    """
    try:
        text = raw.decode("utf-8-sig") if isinstance(raw, bytes) else raw
        pairs, constant, number = (dict, float, float) if lenient else (_unique, _no_number, _finite)
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=constant, parse_float=number, parse_int=_whole)
        _check_depth(value)
        if re.search(r"\\u[dD][89a-fA-F]", text) or not (isinstance(raw, bytes) or _encodes(raw)):
            _check_characters(value)
    except UnicodeDecodeError as caught:
        byte = f"0x{caught.object[caught.start]:02x} at offset {caught.start}"
        raise error(f"{where} is not UTF-8 text: got byte {byte}", hint) from caught
    except json.JSONDecodeError as caught:
        place = f"line {caught.lineno}, column {caught.colno}"
        raise error(f"{where} is broken JSON: got {caught.msg} at {place}", hint) from caught
    except (ValueError, RecursionError) as caught:
        deep = f"it is nested more than {MAX_DEPTH} deep"
        raise error(f"{where}: {(deep if isinstance(caught, RecursionError) else caught)}", hint) from caught
    return checked(value, shape, where=where, error=error, hint=hint)


def checked(value: Any, shape: Any, *, where: str, error: type[XtuneError], hint: str = ANOTHER) -> Any:
    """`value` as pydantic makes it of the type `shape`, uncoerced. Raises `error`, which names the first field."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(shape).validate_python(value, strict=True)
    except ValidationError as caught:
        first = caught.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        name = f"{where}: `{one_line(field, 80)}`" if field else where
        if first["type"] == "missing":
            raise error(f"{name} is missing", hint) from caught
        raise error(f"{name} should {wanted(first)}: got `{shown(first['input'])}`", hint) from caught


def wanted(problem: Any) -> str:
    """What a value should do, after "should", of one of pydantic's problems."""
    return PLAINER.get(problem["type"]) or re.sub(r"^\w+ should ", "", problem["msg"])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key `{one_line(twice, 80)}` stands twice")
    return value


def _no_number(name: str) -> float:
    raise ValueError(f"`{name}` is not a number of JSON")


def _finite(text: str) -> float:
    if (value := float(text)) in (float("inf"), float("-inf")):
        raise ValueError(f"the number `{one_line(text, 20)}` is too large")
    return value


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"the number `{one_line(text, 20)}` has {len(text):,} digits")
    return int(text)


def _check_depth(value: Any) -> None:
    """Raises RecursionError. Other code would, later and elsewhere, where it walks through so deep a value."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = [part.values() if type(part) is dict else part for part in level if type(part) in (dict, list)]
        level = [item for part in inner for item in part]
        if not level:
            return
    raise RecursionError


def _check_characters(value: Any, field: str = "") -> None:
    """Raises ValueError for half of a character, which cannot be written or printed."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        name = f"{field}.{key}" if field else str(key)
        for text in (key, item):
            if isinstance(text, str) and not _encodes(text):
                raise ValueError(f"`{one_line(name, 80)}` holds half of a character: got {shown(text)}")
        _check_characters(item, name)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
