"""Tokenizers of InternLM, InternLM2, Baichuan and ChatGLM, read from the vendors' own `tokenizer.model`.

The vendors' classes split the text at special tokens and leave the rest to sentencepiece; so do these. Conversions to
other engines differ from them (in byte pieces, user-defined pieces, prefixes), and sentencepiece is the faster one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import sentencepiece
from transformers import AddedToken
from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

NAMED = ("bos_token", "eos_token", "unk_token", "pad_token")


class SentencePieceTokenizer(SentencePieceBackend):
    """The vendor's tokenizer. Control tokens come from text in two ways, and both can be turned off.

    `tokenizer(text)` gives the vendor's ids: special tokens spelled in the text are parsed, and sentencepiece turns
    "user-defined" pieces such as `<eoh>` or `<reserved_106>` into their ids. With `split_special_tokens=True`, and in
    `encode_plain`, nothing in the text becomes a control id: special tokens and reserved pieces are spelled out in
    ordinary ones. Their ids are still known by name: `convert_tokens_to_ids("<eoh>")`.
    """

    model_input_names: ClassVar[list[str]] = ["input_ids", "attention_mask"]
    defaults: ClassVar[dict[str, Any]] = {}
    """Arguments that the vendor's class has defaults for."""
    appended: ClassVar[tuple[str, ...]] = ()
    """Tokens that the vendor's class numbers after the last piece of the file."""
    parsed: ClassVar[tuple[str, ...] | None] = None
    """The tokens that are looked for in text; None: all special ones."""
    prefix: ClassVar[tuple[str, ...]] = ()
    """Tokens in front of every sequence that gets special tokens."""
    reserved: ClassVar[str] = r"(?!)"
    """A regular expression of the user-defined pieces that are control tokens; others, such as `<br>`, are text."""

    def __init__(self, vocab_file: str, **options: Any) -> None:
        options = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", **self.defaults, **options}
        self.add_bos_token = options.pop("add_bos_token", False)
        self.add_eos_token = options.pop("add_eos_token", False)
        sentencepiece.set_min_log_level(
            2
        )  # InternLM's file has a piece "\0", of which sentencepiece warns at each load
        pieces = sentencepiece.SentencePieceProcessor(model_file=vocab_file)
        # The base class would forget the flags of a token; Baichuan 2's count only where they stand as a word.
        named = [as_special(options[name]) for name in NAMED if options.get(name)]
        self._added_tokens_decoder = {pieces.piece_to_id(token.content): token for token in named}
        for number, name in enumerate(self.appended, len(pieces)):
            self._added_tokens_decoder[number] = as_special(name)
        if self.appended:
            given = map(str, options.get("extra_special_tokens") or ())
            options["extra_special_tokens"] = list(dict.fromkeys((*self.appended, *given)))
        options["sp_model_kwargs"] = options.get("sp_model_kwargs") or {}
        super().__init__(vocab_file=vocab_file, special_tokens_pattern="prefix_suffix", **{**options, "legacy": True})

    @property
    def prefix_tokens(self) -> list[int]:
        """Ids that stand in front of a sequence with special tokens."""
        return [*self.convert_tokens_to_ids(list(self.prefix)), *([self.bos_token_id] if self.add_bos_token else [])]

    @property
    def suffix_tokens(self) -> list[int]:
        """Ids that stand behind a sequence with special tokens."""
        return [self.eos_token_id] if self.add_eos_token else []

    def encode_plain(self, texts: Iterable[str]) -> list[list[int]]:
        """The ids of each text, none of which is a control id; without special tokens. All texts in one call."""
        return self.plain_model.encode(list(texts), out_type=int)

    def tokenize(self, text: str, **options: Any) -> list[str]:
        if options.pop("split_special_tokens", self.split_special_tokens):
            return self.plain_model.encode(text, out_type=str)
        return super().tokenize(text, split_special_tokens=False, **options)

    @cached_property
    def plain_model(self) -> sentencepiece.SentencePieceProcessor:
        """The sentencepiece model with the reserved pieces marked as unused, so that it spells them out."""
        model = self.sp_model.serialized_model_proto()
        # A piece is stored as its text, its score (field 2, 4 bytes) and its type (field 3): 4 user-defined, 5 unused.
        pattern = rb"(\x0a.(?:" + self.reserved.encode() + rb")(?:\x15.{4})?\x18)\x04"
        return sentencepiece.SentencePieceProcessor(model_proto=re.sub(pattern, b"\\1\x05", model, flags=re.DOTALL))

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """The text; special tokens stand in it as they are, without spaces around them."""
        text = ""
        pieces: list[str] = []
        added = self.added_tokens_encoder
        for token in tokens:
            if token in added:
                text, pieces = text + self.sp_model.decode_pieces(pieces) + token, []
            else:
                pieces.append(token)
        return text + self.sp_model.decode_pieces(pieces)

    def save_pretrained(self, save_directory: str | Path, *args: Any, **options: Any) -> tuple[str, ...]:
        """Writes the vendor's layout; transformers 5 leaves out two settings that the vendors' classes read."""
        files = super().save_pretrained(save_directory, *args, **options)
        file = Path(save_directory, "tokenizer_config.json")
        settings = json.loads(file.read_text(encoding="utf-8"))
        settings |= {"add_bos_token": self.add_bos_token, "add_eos_token": self.add_eos_token}
        file.write_text(json.dumps(settings, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
        return files

    def _update_trie(self, unique_no_split_tokens: list[str] | None = None) -> None:
        if self.parsed is None:
            super()._update_trie(unique_no_split_tokens)
        else:
            self.tokens_trie.update(self.parsed)


def as_special(token: str | AddedToken) -> AddedToken:
    """A special token, with the flags of its file where it has some."""
    return token if isinstance(token, AddedToken) else AddedToken(token, normalized=False, special=True)


class InternLMTokenizer(SentencePieceTokenizer):
    defaults: ClassVar[dict[str, Any]] = {"pad_token": "</s>", "add_bos_token": True}
    reserved = r"<eoh>|<eoa>|<TOKENS_UNUSED_\d+>"


class InternLM2Tokenizer(SentencePieceTokenizer):
    defaults: ClassVar[dict[str, Any]] = {"pad_token": "</s>", "add_bos_token": True}
    reserved = r"\[UNUSED_TOKEN_\d+\]"  # <|im_start|> and its like are the last of these, by another name


class BaichuanTokenizer(SentencePieceTokenizer):
    defaults: ClassVar[dict[str, Any]] = {"pad_token": "<unk>"}
    reserved = r"<SEP>|<CLS>|<reserved_\d+>"


class BaiChuanTokenizer(BaichuanTokenizer):
    """The first release's spelling of the class, kept so that what is saved names the class that its vendor has."""


class ChatGLMTokenizer(SentencePieceTokenizer):
    """ChatGLM2 and 3. Only the four role tokens are looked for in text: `sop` would split "philosophy"."""

    defaults: ClassVar[dict[str, Any]] = {
        "bos_token": None,
        "unk_token": None,
        "pad_token": "<unk>",
        "padding_side": "left",
    }
    parsed = ("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")
    appended = ("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop", *parsed)
    prefix = ("[gMASK]", "sop")
