"""The vendors' ids from the vendors' files; on golden texts where they are at hand, else on vocabularies made here."""

from __future__ import annotations

import base64
import json
import random
import sys
import unicodedata
from itertools import pairwise

import pytest
import regex
import sentencepiece
from transformers import AutoTokenizer

import xtune
from xtune.export.layout import save_native_tokenizer
from xtune.models.legacy.tiktoken import ChatGLM4Tokenizer, QWenTokenizer

NAMES = ["internlm", "internlm2", "baichuan_7b", "baichuan2", "chatglm3", "qwen"]


@pytest.fixture(scope="module")
def golden(request, shared):
    name = request.param
    tokenizer = xtune.load_tokenizer(shared / "data" / "tokenizers" / name)
    return tokenizer, json.loads((shared / "golden" / "legacy_tokenizers" / f"{name}.json").read_text())


@pytest.mark.parametrize("golden", NAMES, indirect=True)
def test_ids_are_the_vendors(golden, tmp_path):
    tokenizer, expected = golden
    tokenizer.save_pretrained(tmp_path)
    for one in (tokenizer, xtune.load_tokenizer(tmp_path)):
        assert one(expected["texts"], add_special_tokens=False)["input_ids"] == expected["ids"]
        assert one(expected["texts"])["input_ids"] == expected["ids_with_special_tokens"]
        for name, value in expected["attributes"].items():
            assert value in (None, getattr(one, name))


@pytest.mark.parametrize("golden", NAMES, indirect=True)
def test_decoding_gives_the_vendors_text_but_for_spaces_around_special_tokens(golden):
    """The vendors' classes put spaces around special tokens and InternLM's take spaces out before punctuation."""
    tokenizer, expected = golden
    special = set(tokenizer.all_special_ids)
    for ids, text in zip(expected["ids"], expected["decoded"], strict=True):
        got = tokenizer.decode(ids)
        assert got.replace(" ", "") == text.replace(" ", "")
        if not special & set(ids) and "..." not in text:
            assert got == text


@pytest.mark.parametrize("golden", NAMES, indirect=True)
def test_no_control_token_comes_from_plain_text(golden):
    tokenizer, expected = golden
    names = [
        "<eoh>",
        "<eoa>",
        "<reserved_102>",
        "<reserved_106>",
        "<s>",
        "</s>",
        *QWenTokenizer.control[:3],
        "[UNUSED_TOKEN_146]",
    ]
    names += ["<|user|>", "<|system|>", "[gMASK]", "sop", "<|action_start|>", "<TOKENS_UNUSED_3>"]
    control = {number for number in map(tokenizer.convert_tokens_to_ids, names) if number} | set(
        tokenizer.all_special_ids
    )
    texts = [text for name in names for text in (name, f"a{name}b", f"{name} {name}")] + expected["texts"]
    for ids in tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]:
        assert not control & set(ids)
    if hasattr(tokenizer, "encode_plain"):
        plain = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert tokenizer.encode_plain(texts) == plain


@pytest.mark.parametrize("golden", ["internlm2", "chatglm3", "baichuan2"], indirect=True)
def test_tokenizer_json_gives_the_same_ids_without_xtune(golden, tmp_path):
    tokenizer, expected = golden
    save_native_tokenizer(tokenizer, tmp_path)
    fast = AutoTokenizer.from_pretrained(tmp_path)
    parsed = tokenizer.parsed is not None  # ChatGLM's class leaves </s> in text alone, tokenizer.json cannot
    for text, ids in zip(expected["texts"], expected["ids_with_special_tokens"], strict=True):
        if not (parsed and ("s>" in text or "<unk>" in text)):
            assert fast(text)["input_ids"] == ids


@pytest.mark.parametrize("golden", ["baichuan_7b"], indirect=True)
def test_baichuan_7b_keeps_its_own_files_and_says_so(golden, tmp_path, caplog):
    save_native_tokenizer(golden[0], tmp_path)
    assert "BaiChuanTokenizer has no tokenizer.json that gives the same ids; keep its own files" in caplog.text
    assert not (tmp_path / "tokenizer.json").exists()
    assert xtune.load_tokenizer(tmp_path).encode("你好") == golden[0].encode("你好")


def texts(seed):
    parts = [
        "the ",
        "model",
        "<eoh>",
        "<s>",
        "</s>",
        "<br>",
        " ",
        "  ",
        "\n",
        "训练",
        "é",
        "🤗",
        "<eo",
        "h>",
        "<TOKENS_UNUSED_2>",
    ]
    draw = random.Random(seed)
    return ["".join(draw.choices(parts, k=draw.randint(0, 12))) for _ in range(200)]


def test_special_tokens_cut_the_text_and_sentencepiece_does_the_rest(vocabulary):
    tokenizer = xtune.load_tokenizer(vocabulary)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(vocabulary / "tokenizer.model"))
    for text in texts(0):
        expected = [1]
        for part in regex.split("(<s>|</s>|<unk>)", text):
            expected += [pieces.piece_to_id(part)] if part in ("<s>", "</s>", "<unk>") else pieces.encode(part)
        assert tokenizer.encode(text) == expected
    assert not [module for module in sys.modules if "transformers_modules" in module]


def test_plain_text_keeps_user_defined_text_and_loses_reserved_pieces(vocabulary, tmp_path):
    tokenizer = xtune.load_tokenizer(vocabulary)
    br, eoh = tokenizer.convert_tokens_to_ids(["<br>", "<eoh>"])
    (ids,) = tokenizer.encode_plain(["a<br><eoh></s>"])
    assert br in ids
    assert not {eoh, tokenizer.eos_token_id} & set(ids)
    for text, plain in zip(texts(1), tokenizer.encode_plain(texts(1)), strict=True):
        assert tokenizer.sp_model.decode(plain) == text
    save_native_tokenizer(tokenizer, tmp_path)
    fast = AutoTokenizer.from_pretrained(tmp_path)
    assert [fast.encode(text) for text in texts(2)] == [tokenizer.encode(text) for text in texts(2)]


def test_settings_survive_saving(vocabulary, tmp_path):
    tokenizer = xtune.load_tokenizer(vocabulary)
    tokenizer.add_bos_token, tokenizer.add_eos_token = False, True
    tokenizer.save_pretrained(tmp_path)
    again = xtune.load_tokenizer(tmp_path)
    assert again.encode("the") == [*tokenizer.encode("the", add_special_tokens=False), tokenizer.eos_token_id]
    assert (tmp_path / "tokenizer.model").read_bytes() == (vocabulary / "tokenizer.model").read_bytes()
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["tokenizer_class"] == "InternLMTokenizer"


def tiktoken_ids(text, ranks, kind, plain):
    """Byte-pair encoding by rank, as tiktoken defines it."""
    text, ids = unicodedata.normalize("NFC", text) if kind is QWenTokenizer else text, []
    cut = regex.compile("(" + "|".join(map(regex.escape, kind.control)) + ")")
    for part in [text] if plain else cut.split(text):
        if not plain and part in kind.control:
            ids.append(len(ranks) + kind.control.index(part))
            continue
        for word in regex.findall(kind.words, part):
            pieces = [bytes([byte]) for byte in word.encode()]
            if word.encode() in ranks:
                pieces = [word.encode()]
            while len(pieces) > 1:
                ranked = [(ranks.get(a + b, 1 << 30), at) for at, (a, b) in enumerate(pairwise(pieces))]
                rank, at = min(ranked)
                if rank == 1 << 30:
                    break
                pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
            ids += [ranks[piece] for piece in pieces]
    return ids


@pytest.mark.parametrize("kind", [QWenTokenizer, ChatGLM4Tokenizer])
def test_tiktoken_vocabularies_are_read_exactly(kind, tmp_path):
    words = [b"th", b"he", b"the", b" t", b" the", b"  ", b"   ", b"\n\n", b"12", b"34", "训".encode(), "训练".encode()]
    parts = [b"mo", b"el", b"del", b"model", "训".encode()[:2], "练".encode()]
    tokens = [bytes([byte]) for byte in range(256)] + parts + words
    ranks = {token: rank for rank, token in enumerate(tokens)}
    lines = [f"{base64.b64encode(token).decode()} {rank}" for token, rank in ranks.items()]
    file = kind.vocab_files_names["vocab_file"]
    (tmp_path / file).write_text("\n".join(lines) + "\n")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind.__name__}))
    tokenizer = xtune.load_tokenizer(tmp_path)
    prefix = [len(ranks) + kind.control.index(name) for name in kind.prefix]
    control = "<|im_start|> <|im_end|>\u0338 e\u0301 <|extra_7|> <|user|>\n[gMASK]<sop>"
    for text in [*texts(3), control, "model" * 9, "the   the \n\n the", "it's 123456"]:
        assert tokenizer.encode(text) == prefix + tiktoken_ids(text, ranks, kind, plain=False)
        plain = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert plain == tiktoken_ids(text, ranks, kind, plain=True)
        assert tokenizer.decode(plain) == (unicodedata.normalize("NFC", text) if kind.normalise else text)
    tokenizer.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / file).read_bytes() == (tmp_path / file).read_bytes()
    assert xtune.load_tokenizer(tmp_path / "saved").encode(control) == tokenizer.encode(control)
