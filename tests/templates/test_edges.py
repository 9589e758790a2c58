"""Where learnt runs stand among the ids: found by the template's words, by offsets and by decoding, always the same."""

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from xtune.templates.edges import LEAD, LEADS, Edges
from xtune.templates.plain_text import PlainText

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
    """Edges that never look for the template's words."""
    slow = Edges(plain)
    monkeypatch.setattr(slow, "_lead", lambda *_: None)
    return slow


def texts_and_runs():
    texts = [words + answer for words in WORDS for answer in ANSWERS if answer]
    lengths = [len(words) for words in WORDS for answer in ANSWERS if answer]
    return texts, {at: [(begin, len(texts[at]))] for at, begin in enumerate(lengths)}


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("folder", ["llama3_1", "qwen3", "llama2"])
def test_words_of_the_template_tell_what_offsets_tell(vendors, folder, inside, monkeypatch):
    plain = PlainText(vendors(folder))
    texts, runs = texts_and_runs()
    quick = Edges(plain)
    assert quick.encode(texts, [inside] * len(texts), runs) == by_offsets(plain, monkeypatch).encode(
        texts, [inside] * len(texts), runs
    )
    assert sum(map(bool, quick.leads.values())) >= 3  # else the test shows nothing


def test_the_same_for_a_tokenizer_that_changes_the_text(monkeypatch):
    """Its normalizer strips, composes and lowers; what stands at the edge may be gone."""
    vocabulary = {letter: index for index, letter in enumerate(["<unk>", *"abcdefghijklmnopqrstuvwxyz\n[]/:.15é"])}
    backend = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Strip(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    plain = PlainText(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>"))
    texts, runs = texts_and_runs()
    inside = [True] * len(texts)
    assert Edges(plain).encode(texts, inside, runs) == by_offsets(plain, monkeypatch).encode(texts, inside, runs)


def test_several_runs_and_long_words_go_by_offsets(smollm2):
    edges = Edges(PlainText(smollm2))
    texts = ["user said " * 9 + "yes", "one two three"]
    ids, runs = edges.encode(texts, [True, True], {0: [(89, 93)], 1: [(0, 3), (7, 13)]})
    assert len(texts[0]) > LEAD and not edges.leads
    assert [smollm2.decode(ids[0][begin:end]) for begin, end in runs[0]] == [" yes"]
    assert [smollm2.decode(ids[1][begin:end]) for begin, end in runs[1]] == ["one", " three"]


def test_no_more_words_are_remembered_than_templates_have(smollm2):
    edges = Edges(PlainText(smollm2))
    texts = [f"{number}?\nyes" for number in range(2 * LEADS)]
    _, runs = edges.encode(
        texts, [True] * len(texts), {at: [(len(text) - 3, len(text))] for at, text in enumerate(texts)}
    )
    assert len(edges.leads) == LEADS
    assert all(end - begin == 1 for ((begin, end),) in runs.values())
