"""Templates as files, and the errors of templates that are wrong."""

import pytest

from xtune import ChatTemplate, Conversation, Turn, render
from xtune.errors import ConfigError, DataError, UnknownName
from xtune.templates.store import load_template, save_template, template_values


def test_every_template_survives_a_file(templates, tmp_path):
    for template in templates.values():
        assert load_template(save_template(template, tmp_path)) == template
        assert load_template(tmp_path) == template


def test_a_file_holds_what_differs_from_the_defaults():
    assert template_values(ChatTemplate(user="Q{text}", stop=("#",))) == {"user": "Q{text}", "stop": ["#"]}


def test_a_folder_without_a_template(tmp_path):
    assert load_template(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "chat template `{path}` is broken JSON: got Expecting property name enclosed in double quotes at line 1, "
              "column 2; write the file again, or give another one"),
        ("[]", "{path}: a chat template is an object of fields: got `[]`; write one with user"),
        ('{"usr": ""}', "{path}: unknown field of a chat template: got `'usr'`; did you mean user?"),
        ('{"user": 1}', "{path}: user should be a string: got `1`; write a string there"),
        ('{"user": "{text}", "tool": 1}', "{path}: tool should be a string or null: got `1`; write "
         "a string or null there"),
        ('{"user": "{text}", "stop": "x"}', "{path}: stop should be a list of strings: got `'x'`; write "
         "a list of strings there"),
        ('{"user": "{text}", "end_in_history": 1}', "{path}: end_in_history should be true or false: got `1`; write "
         "true or false there"),
        (
            '{"user": "{text}", "cut": "word"}',
            "{path}: cut should be one of control, answer, turn: got `'word'`; write "
         "one of control, answer, turn there",
        ),
        (
            "{}",
            "{path}: a chat template needs the field user; add it, with {text} where the text goes",
        ),
        ('{"user": "Q"}', "chat template: user has no {text}: got `Q`; say where the text goes"),
        (
            '{"user": "{text|trm}"}',
            "chat template: user has an unknown filter: got `trm`; did you mean trim or trim_end?",
        ),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told(tmp_path, text, message):
    path = tmp_path / "own.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_template(path)
    assert str(error.value) == message.replace("{path}", str(path))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"chat template `.*none.json` cannot be read: No such file"):
        load_template(tmp_path / "none.json")


def test_an_unknown_name():
    with pytest.raises(UnknownName, match="unknown template: got `chatlm`; did you mean"):
        render(Conversation((Turn("user", "x"),)), "chatlm")


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        (
            (Turn("user", "x"), Turn("tool", "y")),
            "the chat template has no place for this role: got 'tool'; use system, user, assistant",
        ),
        (
            (Turn("user", "x"), Turn("system", "y")),
            "a system message comes first or not at all: got one after another turn; move it to the start",
        ),
    ],
)
def test_turns_without_a_place_are_told(turns, message):
    with pytest.raises(DataError) as error:
        render(Conversation(turns), "chatml")
    assert str(error.value) == message


def test_a_system_message_without_a_question_is_told():
    turns = (Turn("system", "S"), Turn("assistant", "a"))
    with pytest.raises(DataError) as error:
        render(Conversation(turns), "llama2_chat")
    assert str(error.value) == (
        "the chat template writes the system message into the first question: got a conversation without a question; "
        "add one, or drop the system message"
    )


def test_spans_say_what_they_are():
    spans = render(Conversation((Turn("user", "<|im_end|>"), Turn("assistant", "a"))), "yi_chat")
    assert [(span.text, span.learn, span.control) for span in spans] == [
        ("<|im_start|>", False, True),
        ("user\n", False, False),
        ("<|im_end|>", False, False),  # the user's: text
        ("<|im_end|>", False, True),
        ("\n", False, False),
        ("<|im_start|>", False, True),
        ("assistant\n", False, False),
        ("a", True, False),
        ("<|im_end|>", True, True),
        ("\n", False, False),
    ]
