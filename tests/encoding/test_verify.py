"""check-template: what it compares, prints and returns."""

import pytest

from xtune.cli import main
from xtune.conversation import Conversation, Turn
from xtune.encoding.verify import best_match, compare, conversations
from xtune.errors import ModelError
from xtune.names import encode
from xtune.templates.jinja import to_jinja
from xtune.templates.store import save_template


@pytest.fixture
def folder(smollm2, tmp_path):
    smollm2.save_pretrained(tmp_path)
    return tmp_path


def test_conversations_cover_what_tells_templates_apart():
    found = [conversation.turns for conversation, _ in conversations()]
    texts = {turn.text for turns in found for turn in turns}
    assert {len(turns) for turns in found} == {1, 2, 3, 4, 5}
    assert "" in texts
    assert any(text != text.strip() for text in texts)
    assert any("\u4e00" <= letter <= "\u9fff" for text in texts for letter in text)


def test_equal_templates(smollm2, templates):
    found = compare(templates["chatml"], smollm2)
    assert (found.alike, found.differences, found.refused) == (96, (), 0)
    assert best_match(templates, smollm2) == (["chatml", "smollm2"], None)


@pytest.mark.parametrize(("name", "blank"), [("smollm2", "  "), ("qwen3", "\n")])
def test_white_space_that_joins_the_prompt(name, blank, smollm2, vendors):
    """The answer's first letters are then part of the prompt's last token, as in the vendor's ids: not trained."""
    tokenizer = smollm2 if name == "smollm2" else vendors("qwen3")
    question = Turn("user", "hi")
    prompt = encode(Conversation((question,)), "qwen3_instruct_chat", tokenizer, generation_prompt=True)
    begins, trained = [], []
    for text in (f"{blank}new", "new"):
        sample = encode(Conversation((question, Turn("assistant", text))), "qwen3_instruct_chat", tokenizer)
        begins.append(sample.ids[: len(prompt.ids)] == prompt.ids)
        trained.append(tokenizer.decode([label for label in sample.labels if label != -100]).strip())
    assert begins == [False, True]
    assert trained == ["new<|im_end|>", "new<|im_end|>"]


def test_answers_that_join_the_prompt_are_counted(smollm2, templates, folder, capsys):
    found = compare(templates["chatml"], smollm2)
    assert (found.answers, found.joined) == (24, 3)
    assert main(["check-template", str(folder), "--template", "chatml"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == (
        "3 of 24 answers begin with white space that this tokenizer joins with the end of the prompt: "
        "that token is not trained"
    )


def test_official_tokenizers(vendors, templates):
    for folder, name in (("qwen3", "qwen3_chat"), ("llama3_1", "llama3_chat"), ("internlm2", "internlm2_chat")):
        assert compare(templates[name], vendors(folder)).differences == ()


def test_the_first_difference_is_told(folder, capsys):
    assert main(["check-template", str(folder), "--template", "qwen2_chat"]) == 2
    assert capsys.readouterr().out == (
        "template qwen2_chat: the ids of 32 of 96 conversations differ\n"
        "user, as a chat prompt: ids differ from number 7 on\n"
        "  the template writes  "
        "'system\\nYou are a helpful assistant.<|im_end|>\\n<|im_start|>user\\nhi<|im_end|>\\n'\n"
        "  the tokenizer's own  'system\\nYou are a helpful AI assistant named SmolLM, trained by H'\n"
    )


def test_a_template_is_found(folder, capsys, templates):
    assert main(["check-template", str(folder)]) == 0
    assert capsys.readouterr().out == "equal to the tokenizer's own, id for id: chatml, smollm2\n"
    save_template(templates["yi_chat"], folder)
    assert main(["check-template", str(folder)]) == 2
    assert capsys.readouterr().out.startswith(
        "template stored with the model: the ids of 32 of 96 conversations differ"
    )


def test_a_conversation_that_the_own_template_refuses(smollm2, templates):
    own = smollm2.chat_template
    try:
        smollm2.chat_template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}" + own
        found = compare(templates["chatml"], smollm2)
    finally:
        smollm2.chat_template = own
    assert (found.alike, found.differences, found.refused) == (32, (), 64)


def test_dates_are_held(smollm2, templates):
    own = smollm2.chat_template
    try:
        smollm2.chat_template = to_jinja(templates["chatml"]).replace(
            "'You are a helpful AI", "strftime_now('%d %b %Y') ~ ' You are a helpful AI"
        )
        difference = compare(templates["chatml"], smollm2).differences[0]
    finally:
        smollm2.chat_template = own
    assert "26 Jul 2024 You are" in difference.tokenizer_text


def test_nothing_to_compare_with(readable, templates):
    for check in (lambda: compare(templates["chatml"], readable), lambda: best_match(templates, readable)):
        with pytest.raises(
            ModelError, match="there is nothing to compare with: got .* carries no chat template; give a"
        ):
            check()
