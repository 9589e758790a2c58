"""The tokenizer of Qwen-1, built from the vendor's `qwen.tiktoken` for the Rust engine of `tokenizers`."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any, ClassVar

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.tokenization_utils_tokenizers import TokenizersBackend

VOCABULARY = "qwen.tiktoken"
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How the vendor's tokenizer cuts text into words: that of cl100k, but with one digit a word."""
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|extra_{number}|>" for number in range(205)))


class QWenTokenizer(TokenizersBackend):
    """The vendor's tokenizer; control tokens spelled in text are parsed unless `split_special_tokens=True`.

    The vendor's class names no end and no padding token; both are <|endoftext|> here, as its training code has it.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": VOCABULARY, "tokenizer_file": "tokenizer.json"}
    model_input_names: ClassVar[list[str]] = ["input_ids", "attention_mask"]

    @classmethod
    def convert_to_native_format(cls, **options: Any) -> dict[str, Any]:
        """The engine from tokenizer.json where one was saved (it knows of added tokens), else from qwen.tiktoken."""
        if options.get("tokenizer_file"):
            return options
        return {**options, "tokenizer_object": read_tiktoken(Path(options["vocab_file"]))}

    def __init__(self, **options: Any) -> None:
        given = {name: value for name, value in options.items() if value is not None}
        super().__init__(**{"eos_token": CONTROL[0], "pad_token": CONTROL[0], **given})

    def _save_pretrained(self, save_directory: str, *args: Any, **options: Any) -> tuple[str, ...]:
        """Writes qwen.tiktoken beside tokenizer.json, for the vendor's class."""
        written = super()._save_pretrained(save_directory, *args, **options)
        source, target = Path(self.vocab_file), Path(save_directory, VOCABULARY)
        if source.resolve() != target.resolve():
            shutil.copyfile(source, target)
        return (*written, str(target))


def read_tiktoken(file: Path) -> Tokenizer:
    """The engine for a tiktoken vocabulary: lines of a token in base64 and its rank, which is its id.

    tiktoken joins the two neighbours whose union has the lowest rank. As a list of merges: every way to cut a token in
    two, in the order of the token's rank.
    """
    lines = (line.split() for line in file.read_bytes().splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    letters = bytes_to_unicode()
    spelled = {token: "".join(letters[byte] for byte in token) for token in ranks}
    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        cuts = ((token[:at], token[at:]) for at in range(1, len(token)))
        merges += [(spelled[left], spelled[right]) for left, right in cuts if left in ranks and right in ranks]
    engine = Tokenizer(BPE({spelled[token]: rank for token, rank in ranks.items()}, merges, ignore_merges=True))
    engine.normalizer = normalizers.NFC()
    words = pre_tokenizers.Split(Regex(WORDS), "isolated")
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    engine.decoder = decoders.ByteLevel()
    # The vendor normalises before it looks for control tokens.
    engine.add_special_tokens([AddedToken(name, normalized=True, special=True) for name in CONTROL])
    return engine
