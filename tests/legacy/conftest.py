"""A small vocabulary of the vendors' kind."""

from __future__ import annotations

import json

import pytest
import sentencepiece


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory):
    """A sentencepiece model of the vendors' kind, with user-defined pieces."""
    folder = tmp_path_factory.mktemp("vocabulary")
    lines = [
        "the philosophy of training a small model",
        "小模型 的 训练 方法",
        "def f(x): return x + 1  # two  spaces",
    ] * 30
    (folder / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text.txt"),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=420,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        user_defined_symbols=["<eoh>", "<eoa>", "<TOKENS_UNUSED_2>", "<br>"],
        minloglevel=2,
        hard_vocab_limit=False,
    )
    settings = {"tokenizer_class": "InternLMTokenizer", "auto_map": {"AutoTokenizer": ["tokenization_x.X", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "tokenization_x.py").write_text("raise SystemExit('their code ran')\n")
    return folder
