"""The quick way from a conversation to its ids gives what the slow one gives."""

from itertools import product

import pytest

from xtune import ChatTemplate, Conversation, Turn
from xtune.errors import XtuneError
from xtune.templates.encode import Encoder
from xtune.templates.plan import Plan
from xtune.templates.render import pieces
from xtune.templates.skeleton import MOST
from xtune.templates.verify import conversations

TEXTS = (
    "x",
    "100% of {text} %s",
    "",
    " ",
    " y ",
    "\ue0000\ue001",
    "<think>a</think>\n\nb",
    "</think>",
    "<|im_end|>",
    "文😀",
)
ROLES = (
    ("user", "assistant"),
    ("system", "user", "assistant"),
    ("user", "assistant", "user", "assistant"),
    ("user", "user", "assistant", "assistant"),
    ("system", "user", "assistant", "tool", "tool", "assistant", "user", "assistant"),
    ("assistant",),
    ("system", "assistant"),
    ("tool", "assistant"),
    ("user", "system"),
    ("user",),
    (),
)


def bank():
    """Conversations of many kinds: the ones that templates are compared by, any roles and texts, learn flags, plain."""
    yield from (conversation for conversation, _ in conversations())
    for roles, first in product(ROLES, range(len(TEXTS))):
        texts = [TEXTS[(first + 3 * at) % len(TEXTS)] for at in range(len(roles))]
        flags = [(None, True, False)[(first + at) % 3] for at in range(len(roles))]
        yield Conversation(tuple(map(Turn, roles, texts)))
        yield Conversation(tuple(map(Turn, roles, texts, flags)))
    yield from (Conversation((Turn("assistant", text),), plain=True) for text in TEXTS)


def planned(encoder, conversation, add):
    plan = Plan(encoder.edges, encoder.controls)
    try:
        add(plan, conversation)
        (found,) = plan.encode()
    except XtuneError as error:
        return str(error)
    return found.ids.tolist(), found.labels.tolist(), found.learns


def assert_both_ways_agree(encoder):
    def slowly(plan, conversation):
        plan.add(pieces(conversation, encoder.form, encoder.learn))

    for conversation in bank():
        quick = planned(encoder, conversation, encoder.skeletons.add)
        assert quick == planned(encoder, conversation, slowly), conversation


@pytest.mark.parametrize("learn", ["assistant", "last", "all"])
def test_every_template(templates, readable, learn):
    for name, template in templates.items():
        encoder = Encoder(template, readable, learn=learn)
        assert_both_ways_agree(encoder)
        usual = [key for key, skeleton in encoder.skeletons.made.items() if skeleton and len(key) == 5 and not key[0]]
        assert (False, "user", None, "assistant", None) in usual, name  # else the test shows nothing


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("llama2", "llama2_chat"),
        ("llama3_1", "llama3_1_chat"),
        ("qwen3", "qwen3_chat"),
        ("internlm2", "internlm2_chat"),
        ("chatglm3", "chatglm3"),
    ],
)
def test_real_tokenizers(templates, vendors, folder, name):
    assert_both_ways_agree(Encoder(templates[name], vendors(folder)))


def test_tokens_that_swallow_space_go_the_slow_way(readable, monkeypatch):
    encoder = Encoder(ChatTemplate(user="Q{text}{eos}", assistant="A"), readable)
    swallowing = encoder.controls["{eos}"]._replace(rstrip=True)
    monkeypatch.setitem(encoder.controls, "{eos}", swallowing)
    assert_both_ways_agree(encoder)
    assert not any(encoder.skeletons.made.values())


def test_skeletons_are_not_made_without_number(readable):
    encoder = Encoder(ChatTemplate(user="Q{text}", assistant="A"), readable)
    for number in range(1, MOST + 9):
        turns = [Turn("user", "x", learn=bool(number >> bit & 1)) for bit in range(9)]
        encoder.skeletons.add(Plan(encoder.edges, encoder.controls), Conversation((*turns, Turn("assistant", "y"))))
    assert len(encoder.skeletons.made) == MOST
