"""Where trained runs stand among the ids: found by the template's words, by offsets and by decoding, all the same."""

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from xtune.encoding.boundaries import LEAD, LEADS, TokenBoundaries
from xtune.encoding.plain_text import PlainText

ANSWERS = (
    "yes",
    "",
    " yes",
    "\nyes",
    "\n\n yes",
    "是的。",
    "é",
    "\u0301",
    "　x",
    "\u200by",
    "1.5",
    "<end>",
    "🙂",
    "'s",
)
WORDS = (
    "assistant\n",
    "model\n",
    "\n",
    " ",
    "[/INST]",
    "[/INST] ",
    "ASSISTANT: ",
    "答：",
    "<bot>",
    ":",
    "a",
    "x\u0301",
)


def by_offsets(plain, monkeypatch):
    """TokenBoundaries that never look for what stands before an answer."""
    slow = TokenBoundaries(plain)
    monkeypatch.setattr(slow, "_lead", lambda *_: None)
    monkeypatch.setattr(slow, "_leads_of_their_own", lambda *_: {})
    return slow


def texts_and_runs(before="", after=""):
    """Answers after words of the template; `before` and `after` make what stands before longer, and the answer."""
    texts = [before + words + answer + after for words in WORDS for answer in ANSWERS if answer]
    lengths = [len(before + words) for words in WORDS for answer in ANSWERS if answer]
    return texts, {at: [(begin, len(texts[at]))] for at, begin in enumerate(lengths)}


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("folder", ["llama3_1", "qwen3", "llama2"])
def test_words_of_the_template_tell_what_offsets_tell(vendors, folder, inside, monkeypatch):
    plain = PlainText(vendors(folder))
    texts, runs = texts_and_runs()
    quick = TokenBoundaries(plain)
    assert quick.encode(texts, [inside] * len(texts), runs) == by_offsets(plain, monkeypatch).encode(
        texts, [inside] * len(texts), runs
    )
    assert sum(map(bool, quick.leads.values())) >= 3  # else the test shows nothing


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("folder", ["llama2", "llama3_1", "qwen3"])
@pytest.mark.parametrize("question", ["[INST] Why? ", "“为什么？” é 🙂 "])
def test_questions_before_answers_tell_what_offsets_tell(vendors, folder, inside, question, monkeypatch):
    """Where words of the template are not all that stands before the answer."""
    plain = PlainText(vendors(folder))
    texts, runs = texts_and_runs(question * 9, " and so on" * 40)
    quick = TokenBoundaries(plain)
    told = quick._leads_of_their_own(texts, [inside] * len(texts), runs)
    assert len(told) > len(texts) / 2 and not quick.leads  # else the test shows nothing
    found = quick.encode(texts, [inside] * len(texts), runs)
    assert found == by_offsets(plain, monkeypatch).encode(texts, [inside] * len(texts), runs)


VOCABULARY = {letter: index for index, letter in enumerate(["<unk>", *"abcdefghijklmnopqrstuvwxyz\n[]/:.15é▁", "▁y"])}


def joins_letters_it_does_not_know():
    backend = Tokenizer(models.BPE(VOCABULARY, [], unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Strip(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return backend


def strips_the_end():
    """A space before an answer is gone where the text ends with it, and else becomes a token with the answer's y."""
    backend = Tokenizer(models.BPE(VOCABULARY, [("▁", "y")], unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence([normalizers.Strip(left=False), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    return backend


@pytest.mark.parametrize("question", ["", "who é ab? 问 " * 9])
@pytest.mark.parametrize("backend", [joins_letters_it_does_not_know, strips_the_end])
def test_the_same_for_a_tokenizer_that_changes_the_text(backend, question, monkeypatch):
    """What stands at the edge may be gone, or one with what follows."""
    plain = PlainText(PreTrainedTokenizerFast(tokenizer_object=backend(), unk_token="<unk>"))
    texts, runs = texts_and_runs(question, " ab" * len(question))
    inside = [True] * len(texts)
    assert TokenBoundaries(plain).encode(texts, inside, runs) == by_offsets(plain, monkeypatch).encode(
        texts, inside, runs
    )


def test_several_runs_and_long_words_go_by_offsets(smollm2):
    edges = TokenBoundaries(PlainText(smollm2))
    texts = ["user said " * 9 + "yes", "one two three"]
    ids, runs = edges.encode(texts, [True, True], {0: [(89, 93)], 1: [(0, 3), (7, 13)]})
    assert len(texts[0]) > LEAD and not edges.leads
    assert [smollm2.decode(ids[0][begin:end]) for begin, end in runs[0]] == [" yes"]
    assert [smollm2.decode(ids[1][begin:end]) for begin, end in runs[1]] == ["one", " three"]


def test_no_more_words_are_remembered_than_templates_have(smollm2):
    edges = TokenBoundaries(PlainText(smollm2))
    texts = [f"{number}?\nyes" for number in range(2 * LEADS)]
    _, runs = edges.encode(
        texts, [True] * len(texts), {at: [(len(text) - 3, len(text))] for at, text in enumerate(texts)}
    )
    assert len(edges.leads) == LEADS
    assert all(end - begin == 1 for ((begin, end),) in runs.values())
