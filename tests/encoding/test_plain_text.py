"""No text becomes a control token, whatever it spells; and text is encoded as the tokenizer itself does."""

import pytest
from readable import marked, readable_tokenizer
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from xtune import ChatTemplate, Conversation, Turn, encode
from xtune.encoding.plain_text import PlainText
from xtune.errors import ModelError

TURNS = (Turn("system", "s"), Turn("user", "u"), Turn("assistant", "a"))
SPELLED = ("{}", "a {} b", "x{}y", "{}{}")


def control_ids(ids, names, tokenizer):
    known = {tokenizer.convert_tokens_to_ids(name) for name in names}
    return [index for index in ids if index in known]


def check_spelled(template, tokenizer, names, *, answers=True):
    """Spelling `names` in a text adds no control token, and the text is still there."""
    usual = encode(Conversation(TURNS), template, tokenizer).ids
    for name in names:
        for pattern in SPELLED:
            text = pattern.format(name, name)
            turns = (Turn("system", text), Turn("user", text), Turn("assistant", text if answers else "a"))
            ids = encode(Conversation(turns), template, tokenizer).ids
            assert control_ids(ids, names, tokenizer) == control_ids(usual, names, tokenizer), text
            written = tokenizer.decode(ids, skip_special_tokens=False).replace(" ", "")
            assert written.count(text.replace(" ", "")) >= 2 + answers


def test_real_tokenizer(smollm2):
    names = [token.content for token in smollm2.added_tokens_decoder.values()]
    check_spelled("chatml", smollm2, names)


@pytest.mark.parametrize(
    ("folder", "template"),
    [("llama3_1", "llama3_chat"), ("qwen3", "qwen3_chat"), ("qwen3", "yi_chat"), ("llama2", "llama2_chat")],
)
def test_official_tokenizers(vendors, folder, template):
    tokenizer = vendors(folder)
    names = [token.content for token in tokenizer.added_tokens_decoder.values()]
    check_spelled(template, tokenizer, names[:12] + names[-12:], answers=template != "qwen3_chat")


@pytest.mark.parametrize(
    ("folder", "template", "names"),
    [
        ("internlm", "internlm_chat", ("<eoh>", "<eoa>", "<s>", "</s>")),
        ("internlm2", "internlm2_chat", ("<|im_start|>", "<|im_end|>", "<s>", "</s>")),
        ("baichuan_7b", "baichuan_chat", ("<reserved_102>", "<reserved_103>", "<s>", "</s>")),
        ("baichuan2", "baichuan2_chat", ("<reserved_106>", "<reserved_107>", "<s>", "</s>")),
        ("chatglm3", "chatglm3", ("<|user|>", "<|assistant|>", "sop", "[gMASK]")),
        ("chatglm3", "chatglm2", ("sop", "[gMASK]", "<|user|>")),
        ("qwen", "qwen_chat", ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|extra_0|>")),
    ],
)
def test_legacy_tokenizers(vendors, folder, template, names):
    check_spelled(template, vendors(folder), names)


def word_tokenizer(words, *, scheme):
    """Sentencepiece's manner: a ▁ for a space; `scheme` says before which texts one is put."""
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(["<unk>", "<s>", "</s>", *words]))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    backend.decoder = decoders.Metaspace(prepend_scheme=scheme)
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in ("<s>", "</s>")])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def test_a_space_in_front_of_the_first_text_only():
    """Llama's newer tokenizers: no space after a control token; one where the tokenizer itself puts <s> in front."""
    tokenizer = word_tokenizer(["▁Hi", "Hi", "▁there", "there"], scheme="first")
    template = ChatTemplate(user="<s>{text}", answer=" {text}", end="</s>", control=("<s>", "</s>"))
    turns = (Turn("user", "Hi there"), Turn("assistant", "there"), Turn("user", "Hi"))
    ids = encode(Conversation(turns), template, tokenizer).ids
    assert tokenizer.convert_ids_to_tokens(ids) == ["<s>", "Hi", "▁there", "▁there", "</s>", "<s>", "Hi"]
    assert ids == tokenizer("<s>Hi there there</s><s>Hi", add_special_tokens=False).input_ids
    begun = ChatTemplate(begin="{bos}", user="{text}", answer="{text}")
    ids = encode(Conversation(turns[:1]), begun, tokenizer).ids
    assert tokenizer.convert_ids_to_tokens(ids) == ["<s>", "▁Hi", "▁there"]


def test_control_tokens_that_swallow_white_space():
    names = ("<|user|>", "<|end|>", "<|bot|>")
    tokenizer = readable_tokenizer(names, rstrip=True)
    template = ChatTemplate(
        user="<|user|>\n{text}<|end|>\n", assistant="<|bot|>\n", answer="{text}", end="<|end|>", control=names
    )
    turns = (Turn("user", "  hi "), Turn("assistant", "\n yes"))
    sample = encode(Conversation(turns), template, tokenizer)
    assert sample.ids == tokenizer("<|user|>\n  hi <|end|>\n<|bot|>\n\n yes<|end|>").input_ids
    assert marked(sample, tokenizer) == "<|user|>hi <|end|><|bot|>⟦yes<|end|>⟧"
    tokenizer = readable_tokenizer(names, lstrip=True)
    sample = encode(Conversation(turns), template, tokenizer)
    assert sample.ids == tokenizer("<|user|>\n  hi <|end|>\n<|bot|>\n\n yes<|end|>").input_ids


def test_added_tokens_of_ordinary_text_still_match():
    """GPT-NeoX and Gemma add runs of spaces and HTML tags as tokens; they are text."""
    vocabulary = {name: index for index, name in enumerate(["<unk>", *"abcdefghijklmnopqrstuvwxyz <>/|_", "<b>"])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.add_tokens([AddedToken(name, normalized=False) for name in ("   ", "<b>", "<tool_call>")])
    plain = PlainText(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>"))
    ids = plain.encode(["a   <b><tool_call>"], [False])[0]
    assert [backend.id_to_token(index) for index in ids] == ["a", "   ", "<b>", *"<tool_call>"]


def test_a_control_token_that_the_vocabulary_itself_matches_is_broken():
    """A unigram model takes the longest piece it has, a control token's name too."""
    pieces = [("<unk>", 0.0), ("<end>", -1.0), *((letter, -5.0) for letter in "abdefhinost<>")]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0))
    backend.add_special_tokens([AddedToken("<end>", special=True, normalized=False)])
    backend.encode_special_tokens = True
    assert 1 in backend.encode("a<end>b").ids  # else the test shows nothing
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="<end>")
    sample = encode(
        Conversation((Turn("user", "a<end>b"), Turn("assistant", "hi"))), ChatTemplate(user="{text}"), tokenizer
    )
    assert tokenizer.convert_ids_to_tokens(sample.ids) == [*"a<end>b", *"hi", "<end>"]


def test_a_control_token_of_one_letter_that_the_vocabulary_itself_matches_is_left_out():
    pieces = [("<unk>", 0.0), ("§", -1.0), ("ab", -1.0), *((letter, -5.0) for letter in "ab")]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0))
    backend.add_special_tokens([AddedToken("§", special=True, normalized=False)])
    plain = PlainText(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>"))
    assert plain.encode(["a§b", "ab", "§"], [False] * 3) == [[3, 4], [2], []]


def test_a_control_token_that_the_tokenizer_lacks_is_told():
    tokenizer = readable_tokenizer(["<|im_start|>"])
    with pytest.raises(ModelError) as error:
        encode(Conversation(TURNS), "chatml", tokenizer)
    assert str(error.value) == (
        "the chat template writes a control token that the tokenizer does not have: got `<|im_end|>`; "
        "choose the model's own template (xtune check-template MODEL says which)"
    )


def test_chatglm_has_no_id_for_a_name_it_does_not_know(vendors):
    """Its tokenizer gives the unknown token's, and does not say that it is that."""
    with pytest.raises(ModelError, match=r"does not have: got `<\|im_start\|>`"):
        encode(Conversation(TURNS), "qwen2_chat", vendors("chatglm3"))


def test_a_begin_token_that_the_tokenizer_lacks_is_left_out():
    tokenizer = readable_tokenizer(())
    tokenizer.bos_token = None
    assert marked(encode(Conversation(TURNS[1:]), "default", tokenizer), tokenizer) == "<|User|>:u\n<|Bot|>:⟦a<EOS>⟧\n"
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="does not have: got an end token"):
        encode(Conversation(TURNS[1:]), "default", tokenizer)


def test_the_tokenizer_is_left_as_it_was(smollm2):
    before = smollm2.backend_tokenizer.to_str()
    text = "<|im_end|> text"
    ids = smollm2(text).input_ids
    encode(Conversation((Turn("user", text),)), "chatml", smollm2)
    assert smollm2(text).input_ids == ids
    assert smollm2.backend_tokenizer.to_str() == before
