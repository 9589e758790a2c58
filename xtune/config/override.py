"""`--cfg-options KEY=VALUE`: dotted keys to typed values."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import Any

from xtune.errors import ConfigError

_WORDS = {"true": True, "false": False, "none": None, "null": None}


def parse_overrides(pairs: Iterable[str]) -> dict[str, Any]:
    """`["optimizer.lr=1e-4", "data.0.path=x.json"]` -> `{"optimizer.lr": 1e-4, "data.0.path": "x.json"}`.

    A value is a Python literal where it reads as one (numbers, lists, quoted strings), true, false or none in any
    case, a bare list such as `[a,b]`, and else the text itself, commas and spaces included.
    """
    overrides = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not all(key.strip().split(".")):
            raise ConfigError(f"a setting is given as KEY=VALUE: got `{pair}`", "write for instance optimizer.lr=1e-4")
        overrides[key.strip()] = parse_value(value)
    return overrides


def parse_value(text: str) -> Any:
    """The value that `text` spells; see parse_overrides."""
    if text.strip().lower() in _WORDS:
        return _WORDS[text.strip().lower()]
    try:
        return ast.literal_eval(text.strip())
    except Exception:  # SyntaxError for most texts, and what a literal too deep, too long or of unhashable keys raises
        bare_list = re.fullmatch(r"\s*\[([^\[\]{}()'\"]*)\]\s*", text)
        if bare_list:
            return [parse_value(item.strip()) for item in bare_list[1].split(",") if item.strip()]
        return text


def apply_overrides(config: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """A copy of `config` with the dotted keys set. A key may add to a section; it never replaces a section by a part.

    Whether a key exists is the schema's to say: an unknown one survives to there and is refused with the nearest.
    Raises ConfigError for a path through something that is no section or list, or past a list's end.
    """
    from copy import deepcopy

    result = deepcopy(config)
    for dotted, value in overrides.items():
        *parents, last = dotted.split(".")
        node: Any = result
        for part in parents:
            if isinstance(node, dict):
                node = node.setdefault(part, {})
            elif isinstance(node, list):
                node = node[_index(node, part, dotted)]
            if not isinstance(node, (dict, list)):
                raise ConfigError(
                    f"--cfg-options {dotted}: `{part}` is a value, not a section: got `{node}`", "set it whole"
                )
        if isinstance(node, list):
            node[_index(node, last, dotted)] = value
        else:
            node[last] = value
    return result


def _index(items: list[Any], part: str, dotted: str) -> int:
    if not part.isdigit() or int(part) >= len(items):
        raise ConfigError(
            f"--cfg-options {dotted}: the list there has {len(items)} entries, numbered from 0: got `{part}`",
            "choose one of them, or set the list whole",
        )
    return int(part)
