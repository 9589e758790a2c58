"""The legacy sentencepiece tokenizers in the format that needs no class of its own: tokenizer.json."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from transformers import AddedToken, PreTrainedTokenizerFast

from xtune.errors import ModelError
from xtune.models.legacy.sentencepiece import SentencePieceTokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NORMAL, USER_DEFINED, UNUSED = 1, 4, 5
"""Types of pieces in sentencepiece_model.proto."""


def fast_tokenizer(tokenizer: SentencePieceTokenizer) -> PreTrainedTokenizerFast:
    """`tokenizer` for transformers without xtune: the same ids, but that special tokens spelled in a text always are.

    ChatGLM's own class does not look for `</s>` and `<unk>` in text; this one does, since they have to be special.
    Raises ModelError for Baichuan-7B's, whose user-defined pieces stand before normalisation, which tokenizer.json
    cannot say.
    """
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(  # type: ignore[attr-defined]
        tokenizer.sp_model.serialized_model_proto()
    )
    user_defined = [piece.piece for piece in proto.pieces if piece.type == USER_DEFINED]
    if user_defined and (proto.normalizer_spec.precompiled_charsmap or proto.normalizer_spec.add_dummy_prefix):
        raise ModelError(
            f"{type(tokenizer).__name__} has no tokenizer.json that gives the same ids", "keep its own files"
        )
    engine = build(proto, tokenizer, user_defined)
    named = {name: getattr(tokenizer, name) for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
    return PreTrainedTokenizerFast(
        tokenizer_object=engine,
        **{name: token for name, token in named.items() if token is not None},
        padding_side=tokenizer.padding_side,
        model_max_length=tokenizer.model_max_length,
        chat_template=tokenizer.chat_template,
        clean_up_tokenization_spaces=False,
    )


def build(proto: Any, tokenizer: SentencePieceTokenizer, user_defined: list[str]) -> Tokenizer:
    """The engine: byte-pair merges in the order of the pieces' scores, user-defined pieces split off first."""
    from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
    from tokenizers.models import BPE
    from transformers.tokenization_utils_base import generate_merges

    names = piece_names(proto, tokenizer)
    ids = {name: number for number, name in enumerate(names)}
    scores = {p.piece: p.score for p, name in zip(proto.pieces, names) if p.type == NORMAL and p.piece == name}  # noqa: B905
    merges = generate_merges({piece: ids[piece] for piece in scores}, scores)
    # A user-defined piece has no merges that lead to it: split off, it is looked up whole.
    whole = bool(user_defined)
    engine = Tokenizer(BPE(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True, ignore_merges=whole))
    dummy = proto.normalizer_spec.add_dummy_prefix
    prepend = [normalizers.Prepend("▁")] if dummy else []
    engine.normalizer = normalizers.Sequence([*prepend, normalizers.Replace(" ", "▁")])
    if user_defined:
        longest_first = sorted(user_defined, key=len, reverse=True)
        engine.pre_tokenizer = pre_tokenizers.Split(Regex("|".join(map(re.escape, longest_first))), "isolated")
    strip = [decoders.Strip(" ", 1, 0)] if dummy else []
    engine.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    engine.add_special_tokens(parsed_tokens(tokenizer))
    front, back = tokenizer.prefix_tokens, tokenizer.suffix_tokens
    if front or back:
        around = {names[number]: number for number in (*front, *back)}
        single = [*(names[number] for number in front), "$A", *(names[number] for number in back)]
        engine.post_processor = processors.TemplateProcessing(single=single, special_tokens=list(around.items()))
    return engine


def piece_names(proto: Any, tokenizer: SentencePieceTokenizer) -> list[str]:
    """The name of every id. A special token may have taken over a reserved piece's id, and with it its place here."""
    names = [
        f"<unused {n}>" if piece.type == UNUSED or "\0" in piece.piece else piece.piece
        for n, piece in enumerate(proto.pieces)
    ]
    for number, token in sorted(tokenizer.added_tokens_decoder.items()):
        if number < len(names):
            names[number] = token.content
        else:
            names.append(token.content)
    return names


def parsed_tokens(tokenizer: SentencePieceTokenizer) -> list[AddedToken]:
    """The special tokens that are looked for in text."""
    every = [token for _, token in sorted(tokenizer.added_tokens_decoder.items())]
    return [
        AddedToken(token.content, single_word=token.single_word, normalized=False, special=True)
        for token in every
        if tokenizer.parsed is None or token.content in tokenizer.parsed
    ]
