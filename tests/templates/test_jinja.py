"""The Jinja form of every template against render(), with transformers' own Jinja environment."""

import random

import pytest
from transformers.utils.chat_template_utils import _compile_jinja_template

from xtune import ChatTemplate, Conversation, Turn, components, render
from xtune.templates.jinja import to_jinja

TEXTS = (
    *("hi", "", " lead", "trail \n", "\n\nx\n", "你好，世界", "😀", "{{ x }} {% y %} {# z #}", 'it\'s \\ "q"', "  "),
    *("<think>\nab\n</think>\n\nans", "a</think>b</think>c", "<tool_call>\n{}\n</tool_call>", "<|im_end|>"),
)


def conversations(tools):
    chance = random.Random(0)
    for _ in range(60):
        turns = [Turn("system", chance.choice(TEXTS))] if chance.random() < 0.4 else []
        for _ in range(chance.randint(1, 4)):
            turns.append(Turn("user", chance.choice(TEXTS)))
            for _ in range(chance.choice((0, 1, 1, 1, 2))):
                turns.append(Turn("assistant", chance.choice(TEXTS)))
                if tools and chance.random() < 0.4:
                    turns += [Turn("tool", chance.choice(TEXTS)) for _ in range(chance.randint(1, 2))]
        yield turns


@pytest.mark.parametrize("name", components(()).templates)
def test_jinja_gives_the_rendered_text(name, templates):
    jinja = _compile_jinja_template(to_jinja(templates[name]))
    for turns in conversations(templates[name].tool):
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        for prompt in (False, True):
            spans = render(Conversation(tuple(turns)), templates[name], generation_prompt=prompt)
            text = "".join(span.text for span in spans).replace("{bos}", "<B>").replace("{eos}", "<E>")
            made = jinja.render(messages=messages, add_generation_prompt=prompt, bos_token="<B>", eos_token="<E>")
            assert made == text


def test_jinja_refuses_a_role_without_a_place():
    jinja = _compile_jinja_template(to_jinja(ChatTemplate(user="{text}")))
    with pytest.raises(Exception, match="no place for the role tool"):
        jinja.render(messages=[{"role": "tool", "content": "x"}])


def test_a_stored_tokenizer_writes_the_template(smollm2, tmp_path):
    from transformers import AutoTokenizer

    from xtune import encode

    template = ChatTemplate(user="Q: {text}\n", assistant="A:", answer=" {text}", system="{text}\n\n", tail="\n")
    smollm2.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.chat_template = to_jinja(template)
    tokenizer.save_pretrained(tmp_path)
    turns = [Turn("system", "S"), Turn("user", "how?"), Turn("assistant", "so"), Turn("user", "and?")]
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    ids = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(
        messages, add_generation_prompt=True, return_dict=False
    )
    assert ids == encode(Conversation(tuple(turns)), template, tokenizer, generation_prompt=True).ids
