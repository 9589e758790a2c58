"""What identifies prepared data: digests of everything that shapes it, by content and never by name or date."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtune.atomic import file_digest, text_digest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def combined(parts: dict[str, Any]) -> str:
    """One key of named parts: plain values and digests."""
    return text_digest(json.dumps(parts, sort_keys=True))[:24]


def function_identity(function: Callable[..., Any]) -> dict[str, Any]:
    """A function by name, bound options and source: that of its whole package folder, since functions call others."""
    options: dict[str, Any] = {}
    while isinstance(function, partial):
        options = {**function.keywords, **options}
        function = function.func
    return {
        "name": f"{function.__module__}.{function.__qualname__}",
        "options": repr(sorted(options.items())),
        "source": source_digest(function),
    }


def source_digest(code: Any) -> str:
    """The digest of the Python files beside the one that defines a function or class; of that one outside a package."""
    try:
        file = Path(inspect.getfile(code))
    except (TypeError, OSError):  # made at a prompt
        return text_digest(repr(code))
    if not file.is_file():
        return text_digest(repr(code))
    files = sorted(file.parent.glob("*.py")) if (file.parent / "__init__.py").is_file() else [file]
    return text_digest("".join(file_digest(path) for path in files))


def tokenizer_identity(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """A tokenizer by everything that decides its ids: a Rust one as it serializes, a Python one by its vocabulary."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        content = backend.to_str()
    else:
        content = json.dumps(sorted((str(token), index) for token, index in tokenizer.get_vocab().items()))
        for name in sorted(getattr(tokenizer, "vocab_files_names", {})):
            file = Path(str(getattr(tokenizer, name, None) or ""))
            content += file_digest(file) if file.is_file() else ""
    return {
        "class": type(tokenizer).__qualname__,
        "source": source_digest(type(tokenizer)) if backend is None else "",
        "content": text_digest(content),
        "special": text_digest(repr((tokenizer.special_tokens_map, sorted(tokenizer.added_tokens_decoder.items())))),
    }
