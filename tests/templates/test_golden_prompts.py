"""Prompt ids against the vendors' own chat code."""

import json

import pytest

from xtune import Conversation, Turn, encode

TEMPLATES = (
    "baichuan2_chat",
    "baichuan_chat",
    "chatglm2",
    "chatglm3",
    "internlm2_chat",
    "internlm_chat",
    "qwen_chat",
)


@pytest.fixture(params=TEMPLATES)
def golden(request, shared, vendors):
    values = json.loads((shared / "golden/chat_prompts" / f"{request.param}.json").read_text(encoding="utf-8"))
    return values, vendors(values["tokenizer"])


def test_prompt_ids_equal_the_vendors(golden):
    values, tokenizer = golden
    for messages, ids in zip(values["conversations"], values["prompt_ids"], strict=True):
        conversation = Conversation(tuple(Turn(message["role"], message["content"]) for message in messages))
        assert encode(conversation, values["template"], tokenizer, generation_prompt=True).ids == ids, messages


def test_a_training_sample_is_the_prompt_then_the_answer_and_its_end(golden):
    values, tokenizer = golden
    for messages in values["conversations"]:
        turns = tuple(Turn(message["role"], message["content"]) for message in messages)
        prompt = encode(Conversation(turns), values["template"], tokenizer, generation_prompt=True).ids
        sample = encode(
            Conversation((*turns, Turn("assistant", "Paris."))), values["template"], tokenizer, learn="last"
        )
        assert sample.ids[: len(prompt)] == prompt
        assert set(sample.labels[: len(prompt)]) == {-100}
        trained = [label for label in sample.labels if label != -100]
        assert trained == sample.ids[len(prompt) : len(prompt) + len(trained)]
        assert "Paris." in tokenizer.decode(trained)
