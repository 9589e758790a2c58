"""A tokenizer, a template and an encoder small enough to count by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from questions import question
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from xtune.data.feed import Feed
from xtune.data.prepare import Prepared, prepare
from xtune.encoding.encoder import Encoder
from xtune.sources.source import open_source
from xtune.templates.template import ChatTemplate

CHARACTERS = [chr(code) for code in range(32, 127)]
TEMPLATE = ChatTemplate(
    user="<u>{text}", assistant="<a>", end="</s>", system="<s>{text}", control=("<u>", "<a>", "<s>", "</s>")
)


def character_tokenizer() -> PreTrainedTokenizerFast:
    """One id for each printable ASCII character, and the control tokens of TEMPLATE."""
    vocabulary = {character: index for index, character in enumerate(["?unknown", *CHARACTERS])}
    rust = Tokenizer(models.WordLevel(vocabulary, unk_token="?unknown"))
    rust.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    rust.add_special_tokens(list(TEMPLATE.control))
    return PreTrainedTokenizerFast(tokenizer_object=rust, eos_token="</s>", unk_token="?unknown")


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return character_tokenizer()


@pytest.fixture
def encoder(tokenizer: PreTrainedTokenizerFast) -> Callable[..., Encoder]:
    def make(**options: Any) -> Encoder:
        return Encoder(options.pop("template", TEMPLATE), tokenizer, **{"max_length": 32, **options})

    return make


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows, or lines as they are, to a jsonl file."""

    def to_file(rows: list[Any], name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return path

    return to_file


@pytest.fixture
def run(tmp_path: Path, encoder: Callable[..., Encoder], write: Callable[..., Path]) -> Callable[..., Prepared]:
    """Prepares rows. Options of the encoder and of Feed go where they belong, the others to prepare()."""

    def run_on(
        *rows: Any, mapper: Any = question, system: str | None = None, weight: float = 1.0, **options: Any
    ) -> Prepared:
        made = encoder(**{name: options.pop(name) for name in ("max_length", "too_long", "learn") if name in options})
        feed = Feed(open_source(write(list(rows))), mapper, system, weight)
        return prepare([feed], made, **{"cache_dir": tmp_path / "cache", **options})

    return run_on
