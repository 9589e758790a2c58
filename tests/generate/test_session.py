"""Chat: what was trained comes back, streams, and stops where the template ends an answer."""

import dataclasses
from itertools import pairwise

import pytest
import torch

import xtune
from xtune.conversation import Conversation, Turn
from xtune.encoding.stops import Stops, stops
from xtune.errors import XtuneError
from xtune.evaluation.held_out import answers
from xtune.generate.generate import Generator
from xtune.generate.sampling import Sampling
from xtune.generate.session import Session
from xtune.registries import components


@pytest.fixture(scope="module")
def chatml():
    return components([]).templates["chatml"]


@pytest.fixture(scope="module")
def learned(tiny_model, chatml):
    """The tiny model after it has memorised a conversation of two rounds."""
    model, tokenizer = xtune.load_model(tiny_model), xtune.load_tokenizer(tiny_model)
    conversation = Conversation(
        (
            Turn("system", "s"),
            Turn("user", "who?"),
            Turn("assistant", "I am 小明."),
            Turn("user", "sure?"),
            Turn("assistant", "yes"),
        )
    )
    sample = xtune.encode(conversation, chatml, tokenizer)
    ids, labels = torch.tensor([sample.ids]), torch.tensor([sample.labels])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(150):
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval(), tokenizer


def test_the_trained_answers_come_back_over_two_rounds(learned, chatml):
    session = Session(*learned, chatml, system="s", sampling=Sampling(40))
    pieces: list[str] = []
    assert session.ask("who?", pieces.append) == "I am 小明."
    assert "".join(pieces) == "I am 小明."
    assert session.ask("sure?") == "yes"
    assert [turn.role for turn in session.turns] == ["user", "assistant", "user", "assistant"]


def test_the_tokenizers_own_template_serves_where_there_is_no_other(learned, chatml):
    model, tokenizer = learned
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    session = Session(model, tokenizer, None, system="s", sampling=Sampling(40))
    assert session.prompt_ids([Turn("user", "who?")]) == Session(model, tokenizer, chatml, "s").prompt_ids(
        [Turn("user", "who?")]
    )
    assert session.ask("who?") == "I am 小明."


def test_a_conversation_beyond_the_context_is_refused(learned, chatml):
    session = Session(*learned, chatml)
    with pytest.raises(
        XtuneError, match=r"longer than the model's context: got \d+ tokens, it takes 2048; start a new"
    ):
        session.ask("x" * 2100)
    assert session.turns == []


def test_an_answer_ends_where_the_context_does(learned, chatml, monkeypatch):
    model, tokenizer = learned
    session = Session(model, tokenizer, chatml, sampling=Sampling(512))
    question = len(session.prompt_ids([Turn("user", "who?")]))
    monkeypatch.setattr(model.config, "max_position_embeddings", question + 3)
    assert len(tokenizer(session.ask("who?"))["input_ids"]) <= 3


def test_what_ends_an_answer(learned, chatml):
    tokenizer = learned[1]
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert stops(chatml, tokenizer) == ([end], [])
    assert stops(None, tokenizer, [7, end]) == ([end, 7] if end < 7 else [7, end], [])
    moss = xtune.ChatTemplate(user="{text}", stop=("<eoc>",))
    assert stops(moss, tokenizer) == ([end], ["<eoc>"])


ROLES = {
    "unknown": {"unk_token": "<|im_end|>"},
    "all in one": {f"{role}_token": "<|im_end|>" for role in ("unk", "bos", "eos", "pad")},
    "no other": {"unk_token": "<|im_end|>", "pad_token": None},
    "no end": {"unk_token": "<|im_end|>", "eos_token": None, "pad_token": None},
}


@pytest.mark.parametrize("roles", ROLES.values(), ids=ROLES)
def test_an_end_token_ends_answers_whatever_else_it_is(roles, learned, chatml, tiny_model):
    model, tokenizer = learned[0], xtune.load_tokenizer(tiny_model)
    for role, token in roles.items():
        setattr(tokenizer, role, token)
    assert stops(chatml, tokenizer, 0) == ([0, 2], [])
    assert stops(xtune.ChatTemplate(user="{text}", stop=("<eoc>", "<|im_start|>")), tokenizer, 2) == ([1, 2], ["<eoc>"])
    session = Session(model, tokenizer, chatml, system="s", sampling=Sampling(40))
    assert session.ask("who?") == "I am 小明."
    (row,) = answers(session, ["who?"], Generator(model, tokenizer, model.generate))
    assert row["answer"] == "I am 小明."


def test_a_model_without_any_end_answers_as_long_as_it_may(learned, tiny_model, monkeypatch):
    model, tokenizer = learned[0], xtune.load_tokenizer(tiny_model)
    tokenizer.eos_token = tokenizer.pad_token = None
    monkeypatch.setattr(model.generation_config, "eos_token_id", None)
    session = Session(model, tokenizer, xtune.ChatTemplate(user="{text}", end=""), sampling=Sampling(3))
    assert session.stops() == ([], [])
    assert session.ask("who?")


@pytest.mark.parametrize("ends", [["<eoc>"], ["<eoc>", "<eot>"], []], ids=["one", "two", "none"])
@pytest.mark.parametrize("text", ["a<eoc>b", "a<e", "a < e <eo<eoc>", "<eoc>", "a<eot> <eoc>", "", "no end"])
def test_no_piece_of_a_streamed_text_is_taken_back(text, ends):
    """However a text is split into pieces, what is certain only grows, and is the text up to its first stop string."""
    stop, first = Stops([], ends), min((text.find(end) for end in ends if end in text), default=len(text))
    assert stop.before(text) == text[:first]
    certain = [stop.certain(text[:length]) for length in range(len(text) + 1)]
    assert all(text[:first].startswith(piece) for piece in certain)
    assert all(later.startswith(piece) for piece, later in pairwise(certain))


def test_a_stop_string_is_not_streamed(learned, chatml):
    """The model was trained to answer `I am 小明.`; this template ends an answer with two letters of that."""
    session = Session(*learned, dataclasses.replace(chatml, stop=("明.",)), system="s", sampling=Sampling(40))
    pieces: list[str] = []
    assert session.ask("who?", pieces.append) == "I am 小"
    assert "".join(pieces) == "I am 小"
