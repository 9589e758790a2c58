"""The quick way from a conversation to its ids gives what the slow one gives."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readable import readable_tokenizer

from xtune import ChatTemplate, Conversation, Turn
from xtune.encoding.assembly import Assembly
from xtune.encoding.encoder import Encoder
from xtune.encoding.skeleton import LONGEST, MOST
from xtune.encoding.verify import conversations
from xtune.errors import DataError, XtuneError
from xtune.templates.render import pieces
from xtune.templates.template import FILTERS

TEXTS = (
    *("x", "100% of {text} %s", "", " ", " y ", "\n", "<think>a</think>\n\nb", "</think>", "<|im_end|>", "文😀"),
    *("\ue000turn 0\ue001", "<|markup|>"),
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
    plan = Assembly(encoder.boundaries, encoder.controls)
    try:
        add(plan, conversation)
        (found,) = plan.encode()
    except XtuneError as error:
        return str(error)
    return found.tokens.ids.tolist(), found.tokens.labels.tolist(), found.learns


def assert_both_ways_agree(encoder):
    def slowly(plan, conversation):
        plan.add(pieces(conversation, encoder.form, encoder.learn))

    for conversation in bank():
        quick = planned(encoder, conversation, encoder.skeletons.add)
        assert quick == planned(encoder, conversation, slowly), conversation


WORDS = st.lists(
    st.sampled_from(["Q:", "\n", " ", "%", "%s", "{bos}", "{eos}", "<c>", "<d>", "[{round}]", "ab"]), max_size=3
).map("".join)
FILTER = st.sampled_from(["", "", "", *(f"|{name}" for name in FILTERS)])


def with_slot(*names):
    slots = [st.tuples(st.just(f"{{{name}"), FILTER, st.just("}"), WORDS).map("".join) for name in names]
    return st.tuples(WORDS, *slots).map("".join)


@st.composite
def any_template(draw):
    some = {
        name: draw(WORDS) for name in ("assistant", "begin", "between", "close", "tail", "tools_begin", "tools_end")
    }
    return ChatTemplate(
        user=draw(with_slot("text")),
        answer=draw(with_slot("text")),
        end=draw(st.sampled_from(["{eos}", "", "\n", "<c>\n"])),
        end_in_history=draw(st.booleans()),
        system=draw(st.one_of(with_slot("text"), WORDS)),
        system_in_user=draw(st.none() | with_slot("system", "text")),
        tool=draw(st.none() | with_slot("text")),
        thinking=draw(st.none() | with_slot("thinking", "text") | with_slot("thinking", "after_thinking")),
        thinking_prompt=draw(WORDS),
        default_system=draw(st.sampled_from([None, "", "%s", "a\n"])),
        control=("<c>", "<d>"),
        markup=draw(st.sampled_from([(), ("<|markup|>",)])),
        cut=draw(st.sampled_from(["control", "answer", "turn"])),
        **some,
    )


READABLE = {
    stripping: readable_tokenizer(["<c>", "<d>", "<|markup|>"], rstrip=stripping) for stripping in (False, True)
}


@settings(max_examples=60, deadline=None)
@given(any_template(), st.sampled_from(["assistant", "last", "all"]), st.sampled_from([False, False, True]))
def test_any_template(template, learn, stripping):
    assert_both_ways_agree(Encoder(template, READABLE[stripping], learn=learn))


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


def test_skeletons_are_not_made_without_number(readable):
    encoder = Encoder(ChatTemplate(user="Q{text}", assistant="A"), readable)
    for number in range(1, MOST + 9):
        turns = [Turn("user", "x", learn=bool(number >> bit & 1)) for bit in range(9)]
        encoder.skeletons.add(
            Assembly(encoder.boundaries, encoder.controls), Conversation((*turns, Turn("assistant", "y")))
        )
    assert len(encoder.skeletons.made) == MOST


def test_very_long_conversations_go_the_slow_way(readable):
    encoder = Encoder(ChatTemplate(user="Q{text}", assistant="A"), readable)
    for length in (LONGEST, LONGEST + 2):
        turns = (Turn("user", "x"), Turn("assistant", "y")) * (length // 2)
        encoder.encode_batch([Conversation(turns)])
    assert len(encoder.skeletons.made) == 1


@pytest.mark.parametrize("role", [["user"], {}, None, 3])
def test_garbage_for_a_role_is_told(readable, role):
    encoder = Encoder(ChatTemplate(user="Q{text}", assistant="A"), readable)
    for turns in ((Turn(role, "x"),), (Turn("user", "x"), Turn(role, "y"))):
        with pytest.raises(DataError, match="no place for this role"):
            encoder.encode_batch([Conversation(turns)])
