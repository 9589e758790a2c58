"""The tokenizers of Qwen-1 and GLM-4-9B, built from the vendors' tiktoken vocabularies for the Rust engine."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any, ClassVar

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.tokenization_utils_tokenizers import TokenizersBackend

WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""How cl100k, and these vendors after it, split text into words; %s is how many digits make one."""


class TiktokenTokenizer(TokenizersBackend):
    """A vendor's tokenizer; control tokens spelled in text are parsed unless `split_special_tokens=True`."""

    model_input_names: ClassVar[list[str]] = ["input_ids", "attention_mask"]
    words: ClassVar[str]
    control: ClassVar[tuple[str, ...]]
    """Tokens that the vendor's class numbers after the vocabulary; the first ends and pads."""
    normalise: ClassVar[bool] = False
    """Whether text is brought to NFC first, control tokens in it included."""
    prefix: ClassVar[tuple[str, ...]] = ()
    """Tokens in front of every sequence that gets special tokens."""

    @classmethod
    def convert_to_native_format(cls, **options: Any) -> dict[str, Any]:
        """The engine from tokenizer.json where one was saved (it knows of added tokens), else from the vocabulary."""
        if options.get("tokenizer_file"):
            return options
        engine = read_tiktoken(Path(options["vocab_file"]), cls.words)
        engine.normalizer = normalizers.NFC() if cls.normalise else None
        engine.add_special_tokens([AddedToken(name, normalized=cls.normalise, special=True) for name in cls.control])
        if cls.prefix:
            numbers = [(name, engine.token_to_id(name)) for name in cls.prefix]
            engine.post_processor = processors.TemplateProcessing(single=[*cls.prefix, "$A"], special_tokens=numbers)
        return {**options, "tokenizer_object": engine}

    def __init__(self, **options: Any) -> None:
        given = {name: value for name, value in options.items() if value is not None}
        super().__init__(**{"eos_token": self.control[0], "pad_token": self.control[0], **given})

    def _save_pretrained(self, save_directory: str, *args: Any, **options: Any) -> tuple[str, ...]:
        """Writes the vendor's vocabulary beside tokenizer.json, for the vendor's class."""
        written = super()._save_pretrained(save_directory, *args, **options)
        source, target = Path(self.vocab_file), Path(save_directory, self.vocab_files_names["vocab_file"])
        if source.resolve() != target.resolve():
            shutil.copyfile(source, target)
        return (*written, str(target))


class QWenTokenizer(TiktokenTokenizer):
    """Qwen-1. The vendor's class names no end and no padding token; its training code takes <|endoftext|>."""

    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": "qwen.tiktoken", "tokenizer_file": "tokenizer.json"}
    words = WORDS % r"\p{N}"
    control = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|extra_{number}|>" for number in range(205)))
    normalise = True


class ChatGLM4Tokenizer(TiktokenTokenizer):
    """GLM-4-9B in the layout of its own code."""

    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": "tokenizer.model", "tokenizer_file": "tokenizer.json"}
    words = WORDS % r"\p{N}{1,3}"
    control = (
        *("<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>"),
        *("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
        *("<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>"),
    )
    prefix = ("[gMASK]", "<sop>")

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"padding_side": "left", **options})


def read_tiktoken(file: Path, words: str) -> Tokenizer:
    """The engine for a tiktoken vocabulary: lines of a token in base64 and its rank, which is its id.

    tiktoken joins the two neighbours whose union has the lowest rank. As a list of merges: every way to split a token
    in two, in the order of the token's rank.
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
    cut = pre_tokenizers.Split(Regex(words), "isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    engine.pre_tokenizer = pre_tokenizers.Sequence([cut, to_bytes])
    engine.decoder = decoders.ByteLevel()
    return engine
