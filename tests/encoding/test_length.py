"""What becomes of conversations that are too long, or have nothing to learn."""

import pytest
from readable import marked

from xtune import ChatTemplate, Conversation, Preference, Turn, encode
from xtune.encoding.encoder import Encoder
from xtune.errors import DataError

TEMPLATE = ChatTemplate(user="Q{text}\n", assistant="A", end="{eos}", tail="\n")


def conversation(*texts):
    roles = ("user", "assistant")
    return Conversation(tuple(Turn(roles[index % 2], text) for index, text in enumerate(texts)))


def outcome(readable, *conversations, **options):
    encoded = Encoder(TEMPLATE, readable, **options).encode_batch(conversations)
    tokens = [one for row in encoded for example in row.examples for one in example.sequences]
    assert all(one.ids.dtype == one.labels.dtype == "int32" and one.ids.shape == one.labels.shape for one in tokens)
    return [(text_of(one, readable), one.outcome) for one in encoded]


def text_of(encoded, readable):
    """The text of a row's one sequence; nothing of a row that was dropped."""
    return "".join(marked(example.sequences[0], readable) for example in encoded.examples)


def test_whole_turns_are_dropped_from_the_end(readable):
    long = conversation("1", "a", "2", "b", "3", "c")  # each round is 7 ids long: Q 1 \n A a <EOS> \n
    assert outcome(readable, long, max_length=21) == [("Q1\nA⟦a<EOS>⟧\nQ2\nA⟦b<EOS>⟧\nQ3\nA⟦c<EOS>⟧\n", "whole")]
    two = ("Q1\nA⟦a<EOS>⟧\nQ2\nA⟦b<EOS>⟧\n", "shortened")
    assert [outcome(readable, long, max_length=length)[0] for length in (20, 15, 14)] == [two] * 3
    assert outcome(readable, long, max_length=13) == [("Q1\nA⟦a<EOS>⟧\n", "shortened")]
    assert outcome(readable, long, max_length=6) == [("", "too long")]


def test_reasoning_that_is_dropped_makes_a_longer_conversation_shorter(readable):
    """Only the answer after the last question keeps its reasoning: the first round alone does not fit, two do."""
    template = ChatTemplate(user="Q{text}\n", assistant="A", thinking="{thinking}={text}", tail="\n")
    long = conversation("1", "<think>long</think>a", "2", "b", "3", "<think>long</think>c")
    (found,) = Encoder(template, readable, max_length=15).encode_batch([long])
    assert (text_of(found, readable), found.outcome) == ("Q1\nAa<EOS>\nQ2\nA⟦=b<EOS>⟧\n", "shortened")


def test_a_question_without_an_answer_is_dropped_with_its_answer(readable):
    asked = conversation("1", "a", "2")
    assert outcome(readable, asked, max_length=9) == [("Q1\nA⟦a<EOS>⟧\n", "shortened")]


def test_the_last_answer_kept_is_trained(readable):
    long = conversation("1", "a", "2", "b", "3", "c")
    shortened = ("Q1\nAa<EOS>\nQ2\nA⟦b<EOS>⟧\n", "shortened")
    assert outcome(readable, long, max_length=14, learn="last") == [shortened]


def test_truncate(readable):
    long = conversation("1", "abcdef")
    assert outcome(readable, long, max_length=7, too_long="truncate") == [("Q1\nA⟦abc⟧", "truncated")]
    assert outcome(readable, long, max_length=4, too_long="truncate") == [("", "too long")]


def test_error(readable):
    with pytest.raises(DataError) as error:
        outcome(readable, conversation("1", "abcdef"), max_length=7, too_long="error")
    assert str(error.value) == (
        "a conversation has more tokens than max_length: got `12`, allowed are 7; "
        "raise max_length, or set too_long to drop_turns or truncate"
    )


def test_nothing_to_learn(readable):
    unlearnt = Conversation((Turn("user", "1"), Turn("assistant", "a", learn=False)))
    assert outcome(readable, conversation("1"), unlearnt, Conversation(())) == [
        ("", "nothing to learn"),
        ("", "nothing to learn"),
        ("", "empty"),
    ]


def test_a_dropped_conversation_does_not_move_the_others(readable):
    rows = [conversation("1", "a"), conversation("2"), conversation("3", "c" * 9), conversation("4", "d")]
    assert outcome(readable, *rows, max_length=8) == [
        ("Q1\nA⟦a<EOS>⟧\n", "whole"),
        ("", "nothing to learn"),
        ("", "too long"),
        ("Q4\nA⟦d<EOS>⟧\n", "whole"),
    ]


def test_encode_keeps_what_training_would_drop(readable):
    """A prompt and an unanswered question are encoded whole; only length drops, and only where it is asked for."""
    assert marked(encode(conversation("1"), TEMPLATE, readable), readable) == "Q1\n"
    assert marked(encode(conversation("1", "a", "2", "b"), TEMPLATE, readable, 9), readable) == "Q1\nA⟦a<EOS>⟧\n"
    assert len(encode(conversation("1", "abcdef"), TEMPLATE, readable, 9)) == 0
    assert marked(encode(conversation("1" * 9), TEMPLATE, readable, 5, generation_prompt=True), readable) == (
        "Q111111111\nA"
    )


def test_a_batch_is_what_its_conversations_are(readable, smollm2, templates):
    rows = [conversation(*texts) for texts in (("hi", "yes"), ("hi", "yes", "more", "no"), ("", ""), ("你好", " 好\n"))]
    for tokenizer, name in ((readable, "glm4_chat"), (smollm2, "chatml"), (smollm2, "vicuna")):
        batch = Encoder(templates[name], tokenizer).encode_batch(rows)
        for row, encoded in zip(rows, batch, strict=True):
            alone = encode(row, name, tokenizer)
            (found,) = (example.sequences[0] for example in encoded.examples)
            assert (found.ids.tolist(), found.labels.tolist()) == (alone.ids, alone.labels)


def pair(chosen, rejected):
    return Preference(conversation("1", chosen), conversation("1", rejected))


def test_a_pair_fits_as_a_whole_or_not_at_all(readable):
    fits, one_is_long, both = pair("a", "b"), pair("a", "b" * 9), pair("a" * 9, "a" * 8 + "b")
    encoder = Encoder(TEMPLATE, readable, max_length=8)
    found = encoder.encode_batch([fits, one_is_long, conversation("1", "a"), both])
    assert [one.outcome for one in found] == ["whole", "too long", "whole", "too long"]
    (example,) = found[0].examples
    assert [marked(tokens, readable) for tokens in example.sequences] == ["Q1\nA⟦a<EOS>⟧\n", "Q1\nA⟦b<EOS>⟧\n"]

    encoder = Encoder(TEMPLATE, readable, max_length=8, too_long="truncate")
    found = encoder.encode_batch([fits, one_is_long, both])
    assert [one.outcome for one in found] == ["whole", "truncated", "too long"]  # where the last two differ is gone
    (example,) = found[1].examples
    assert [marked(tokens, readable) for tokens in example.sequences] == ["Q1\nA⟦a<EOS>⟧\n", "Q1\nA⟦bbbb⟧"]

    with pytest.raises(DataError, match="more tokens than max_length"):
        Encoder(TEMPLATE, readable, max_length=8, too_long="error").encode_batch([one_is_long])


def test_a_pair_of_which_one_side_has_nothing_to_learn_is_dropped(readable):
    unanswered = Preference(conversation("1", "a"), conversation("1"))
    assert outcome(readable, unanswered, Preference(conversation("1", "a"), Conversation(()))) == [
        ("", "nothing to learn"),
        ("", "empty"),
    ]
