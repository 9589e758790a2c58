"""Files and code of others: whatever they hold or raise, it ends in one line that names the file and the field."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from xtune.errors import CheckpointError, ConfigError, ModelError, XtuneError
from xtune.foreign import MAX_DEPTH, foreign, parse_json, read_json, reason
from xtune.text import one_line, shown, visible


def parse(text: bytes | str, **options: Any) -> Any:
    return parse_json(text, where="model config `x`", error=ModelError, **options)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "is broken JSON: got Expecting value at line 1, column 1"),
        (b'{"a": 1,\n "b" 2}', "is broken JSON: got Expecting ':' delimiter at line 2, column 6"),
        (b'{"a": 1}}', "is broken JSON: got Extra data at line 1, column 9"),
        ("{}".encode("utf-16"), "is not UTF-8 text: got byte 0xff at offset 0"),
        ('{"a": "é"}'.encode("latin-1"), "is not UTF-8 text: got byte 0xe9 at offset 7"),
        (b"[" * 10**6, f"it is nested more than {MAX_DEPTH} deep"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, f"it is nested more than {MAX_DEPTH} deep"),
        (b'{"a": ' + b"9" * 10**6 + b"}", "the number `99999999999999999999 …` has 1,000,000 digits"),
        (b'{"a": 1e999}', "the number `1e999` is too large"),
        (b'{"a": NaN}', "`NaN` is not a number of JSON"),
        (b'{"a": {"b": 1, "b": 2}}', "the key `b` stands twice"),
        (b'{"a": {"b": ["x", "\\ud800"]}}', r"`a.b.1` holds half of a character: got '\ud800'"),
        (b'{"a": {"\\udc00": 1}}', r"`a.\udc00` holds half of a character"),
        ('{"a": "\udc80"}', r"`a` holds half of a character: got '\udc80'"),
        (b"[]", "should be a section with keys: got `[]`"),
        (b"null", "should be a section with keys: got `None`"),
    ],
)
def test_what_is_no_object_in_json_is_told_in_one_line(text, told):
    with pytest.raises(ModelError) as caught:
        parse(text)
    line = str(caught.value)
    assert line.startswith("model config `x`") and told in line and "\n" not in line and len(line) < 300


class Adapter(BaseModel):
    base: str
    rank: int = 8
    scale: float = 1.0
    targets: list[str] | str = "all-linear"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({}, "model config `x`: `base` is missing"),
        ({"base": None}, "`base` should be a valid string: got `None`"),
        ({"base": "b", "rank": "8"}, "`rank` should be a valid integer: got `'8'`"),
        ({"base": "b", "rank": True}, "`rank` should be a valid integer: got `True`"),
        ({"base": "b", "targets": {"q": 1}}, "`targets.list[str]` should be a valid list"),
        ({"base": "b", "scale": [1]}, "`scale` should be a valid number: got `[1]`"),
    ],
)
def test_a_field_of_the_wrong_type_is_named(value, told):
    with pytest.raises(ModelError) as caught:
        parse(json.dumps(value), shape=Adapter)
    assert told in str(caught.value)


def test_good_json_is_what_the_library_makes_of_it():
    value = {"a": [1, 2.5, 1e-8, True, None, "你好 👩‍👩‍👧", "\U0001f600"], "b": {"c": 10**30}}
    assert parse(json.dumps(value)) == value == parse(b"\xef\xbb\xbf" + json.dumps(value, ensure_ascii=False).encode())
    assert parse('{"a": 2}', shape=dict[str, int]) == {"a": 2}
    assert parse('{"base": "b", "rank": 4}', shape=Adapter) == Adapter(base="b", rank=4)
    assert parse('{"a": Infinity, "a": 1e999, "b": 1}', lenient=True) == {"a": float("inf"), "b": 1}


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
).map(lambda value: json.dumps(value).encode())))  # fmt: skip
def test_any_bytes_give_a_value_or_one_line(raw):
    """A value that comes back can be written again: nothing in it fails later."""
    with suppress(ModelError):
        value = parse(raw, shape=Any)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        assert value == json.loads(raw.decode("utf-8-sig"))


@pytest.mark.parametrize("cut", range(0, 60, 3))
def test_a_damaged_file_names_itself(tmp_path, cut):
    path = tmp_path / "adapter_config.json"
    whole = json.dumps({"base": "模型", "targets": ["q_proj"], "scale": 0.5}).encode()
    path.write_bytes(whole[:cut])
    with pytest.raises(CheckpointError, match=r"^adapter config `.*adapter_config\.json` .*; write it again$"):
        read_json(path, what="adapter config", error=CheckpointError, hint="write it again", shape=Adapter)


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "large").write_bytes(b" " * 101)
    paths = {
        tmp_path / "fifo": "is not a file",
        tmp_path / "folder": "is not a file",
        "/dev/zero": "is not a file",
        tmp_path / "large": "has more than 100 bytes",
        tmp_path / "absent": "cannot be read: No such file or directory",
        tmp_path / "loop": "cannot be read: Too many levels of symbolic links",
        tmp_path / ("a" * 300): "cannot be read: File name too long",
        "nul\0byte": "cannot be read: embedded null byte",
        "half\ud800": "cannot be read: ",
    }
    for path, told in paths.items():
        with pytest.raises(ConfigError, match=told) as caught:
            read_json(path, what="file", error=ConfigError, limit=100)
        assert "\n" not in str(caught.value)


def test_a_large_file_is_read_in_little_more_time_than_the_library_takes(tmp_path):
    path = tmp_path / "index.json"
    value = {"weight_map": {f"model.layers.{n}.weight": f"model-{n % 100:05}.safetensors" for n in range(50_000)}}
    path.write_text(json.dumps(value))
    begin = time.perf_counter()
    assert json.loads(path.read_text()) == value
    plain = time.perf_counter() - begin
    begin = time.perf_counter()
    assert read_json(path, what="index", error=ModelError) == value
    assert time.perf_counter() - begin < 5 * plain + 0.3


class Panic(BaseException):
    """As a library in Rust raises one."""


class Mute(Exception):
    def __str__(self) -> str:
        raise TypeError


def endless() -> None:
    endless()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (RuntimeError("size mismatch:\n\tfor a.weight"), "size mismatch: for a.weight"),
        (KeyError("olmo2"), "KeyError: 'olmo2'"),
        (AttributeError("'NoneType' object has no attribute 'x'"), "AttributeError: 'NoneType' object has no"),
        (FileNotFoundError(2, "No such file or directory", "x.bin"), "No such file or directory: x.bin"),
        (AssertionError(), "AssertionError; "),
        (SystemExit(0), "SystemExit: 0"),
        (MemoryError(), "MemoryError; "),
        (Panic("called `unwrap` on a `None`"), "Panic: called `unwrap`"),
        (ValueError("\x1b]0;title\x07\u202eabc"), r"\x1b]0;title\x07\u202eabc"),
        (ValueError("a" * 10**7), "aaa …"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), "surrogates not allowed"),
        (Mute(), "Mute; "),
    ],
)
def test_whatever_is_raised_becomes_one_error_of_one_line(fault, told):
    with pytest.raises(ModelError) as caught, foreign("model x cannot be loaded", ModelError, "give another one"):
        raise fault
    line = str(caught.value)
    assert line.startswith("model x cannot be loaded: ") and line.endswith("; give another one")
    assert told in line and line.isprintable() and len(line) < 500
    assert caught.value.__cause__ is fault


def test_endless_recursion_is_one_line():
    with pytest.raises(ModelError, match="x: maximum recursion depth exceeded"), foreign("x", ModelError, "y"):
        endless()


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), ConfigError("ours"), XtuneError("ours")])
def test_what_is_ours_passes_as_it_is(fault):
    with pytest.raises(type(fault)) as caught, foreign("x", ModelError, "y"):
        raise fault
    assert caught.value is fault


def test_a_reason_is_never_empty():
    assert [reason(kind()) for kind in (ValueError, KeyError, OSError)] == ["ValueError", "KeyError", "OSError"]


@pytest.mark.parametrize("kept", ["a\nb\tc", "你好，世界", "👩‍👩‍👧 🇨🇳 é", "مرحبا", "می‌خواهم", ""])
def test_every_script_stays_as_it_is(kept):
    assert visible(kept) == kept


@pytest.mark.parametrize("code", [*range(0x20), 0x7F, 0x85, 0x9B, 0x200F, 0x202E, 0x2066, 0x2028, 0xFEFF, 0xD800])
def test_what_a_terminal_would_obey_is_written_as_an_escape(code):
    letter = chr(code)
    if letter in "\n\t":
        return
    told = visible(f"a{letter}b")
    assert told.isprintable() and told.isascii()
    assert told.encode().decode("unicode_escape") == f"a{letter}b"


def test_one_line_is_bounded_and_shown_never_fails():
    assert one_line("a\r\n b\x85c  ") == r"a b\x85c" and len(one_line("ab " * 10**6, 50)) <= 52
    assert shown(10**5000) == "a value of type int"
    assert shown("\ud800") == r"'\ud800'"
