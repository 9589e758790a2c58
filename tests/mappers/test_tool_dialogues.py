"""MOSS and MSAgent-Bench rows: the calls are text that the model learns, the results are not."""

import json

import pytest

from xtune.errors import DataError
from xtune.mappers.moss import moss_sft
from xtune.mappers.msagent import msagent_react
from xtune.names import render
from xtune.registries import components


def moss_round(human: str, answer: str) -> dict:
    return {
        "Human": f"<|Human|>: {human}<eoh>\n",
        "Inner Thoughts": "<|Inner Thoughts|>: look<eot>\n",
        "Commands": '<|Commands|>: Search("x")<eoc>\n',
        "Tool Responses": "<|Results|>: y<eor>\n",
        "MOSS": f"<|MOSS|>: {answer}<eom>\n",
    }


def test_moss_rounds_come_in_the_order_of_their_numbers() -> None:
    chat = {f"turn_{number}": moss_round(f"q{number}", f"a{number}") for number in (10, 2, 1)}
    turns = moss_sft({"meta_instruction": "MOSS is kind.", "chat": chat}, bot_name="Nova").turns
    assert [turn.text for turn in turns if turn.role == "user"] == ["q1", "q2", "q10"]
    assert turns[0].text == "Nova is kind."
    assert [turn.role for turn in turns[1:5]] == ["user", "assistant", "tool", "assistant"]
    assert turns[2].text == '<|Inner Thoughts|>: look<eot>\n<|Commands|>: Search("x")<eoc>\n'
    assert turns[4].text == "<|Nova|>: a1<eom>\n"


def test_moss_is_rendered_as_the_data_has_it_and_learnt_but_for_the_results() -> None:
    chat = {"turn_1": moss_round("q", "a")}
    spans = render(
        moss_sft({"meta_instruction": "MOSS is kind.\n", "chat": chat}), components([]).templates["moss_sft"]
    )
    said = "".join(span.text for span in spans)
    assert said == "{bos}MOSS is kind.\n" + "".join(chat["turn_1"].values())
    assert "".join(span.text for span in spans if span.learn) == (
        '<|Inner Thoughts|>: look<eot>\n<|Commands|>: Search("x")<eoc>\n<|MOSS|>: a<eom>\n'
    )


def test_moss_rounds_without_an_answer_end_the_dialogue() -> None:
    chat = {"turn_1": moss_round("q", "a"), "turn_2": {"Human": "<|Human|>: more<eoh>\n"}, "turn_3": None}
    assert len(moss_sft({"meta_instruction": "", "chat": chat}).turns) == 4
    assert moss_sft({"meta_instruction": "S", "chat": {}}).turns == ()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"meta_instruction": ""}, "column `chat` is missing"),
        ({"meta_instruction": "", "chat": "x"}, "column `chat` should be an object: got text, 'x'; give it turn_1,"),
        (
            {"meta_instruction": "", "chat": {"turn_1": 3}},
            "column `chat.turn_1` should be an object: got a number, 3; give",
        ),
        (
            {"meta_instruction": "", "chat": {"turn_1": {"Human": []}}},
            "column `chat.turn_1` should be text: got a list",
        ),
    ],
)
def test_moss_rows_of_another_shape_are_refused(row: dict, message: str) -> None:
    with pytest.raises(DataError) as caught:
        moss_sft(row)
    assert str(caught.value).startswith(message)


TOOLS = (
    'You have: {"name": "sky", "description": "weather", '
    '"paths": [{"parameters": [{"name": "city", "description": "where"}]}]} {"x": 1} {'
)
THINK = '<|startofthink|>```JSON\n{"api_name": "sky", "parameters": {"city": "罗马"}}```<|endofthink|>'
DIALOGUE = [
    {"from": "system", "value": TOOLS},
    {"from": "user", "value": "Rain?"},
    {"from": "assistant", "value": f'Look.{THINK}<|startofexec|>```JSON\n{{"rain": false}}```<|endofexec|>'},
    {"from": "assistant", "value": "Dry."},
    {"from": "user", "value": "Thanks"},
]


def test_msagent_becomes_react() -> None:
    turns = msagent_react({"conversations": DIALOGUE}).turns
    assert '- sky: weather；输入参数: {"city": "where"}\n' in turns[0].text
    assert "只能是 sky\n" in turns[0].text
    assert [(turn.role, turn.text) for turn in turns[1:]] == [
        ("user", "Rain?"),
        ("assistant", 'Thought:Look.\nAction:sky\nAction Input:{"city": "罗马"}'),
        ("user", 'Response:{"rain": false}'),
        ("assistant", "Final Answer:Dry."),
    ]


@pytest.mark.parametrize("spell", [json.dumps, repr])
def test_msagent_reads_lists_spelt_as_text(spell) -> None:
    assert msagent_react({"conversations": spell(DIALOGUE)}) == msagent_react({"conversations": DIALOGUE})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("__import__('os').getcwd()", "column `conversations` should be a list: got text, "),
        ("(" * 100_000, "column `conversations` should be a list: got text, "),
        ("{}", "column `conversations` should be a list: got an object, {}"),
        ([3], "column `conversations, message 1` should be an object: got a number, 3; give from and value"),
        (
            [{"from": "assistant", "value": "<|startofthink|>{<|endofthink|>"}],
            "column `conversations, message 1` has a block that is not JSON: got `Expecting",
        ),
        (
            [{"from": "assistant", "text": "a"}],
            "column `conversations, message 1` has no text under `value`: got keys 'from', 'text'; write the text",
        ),
        (
            [{"from": "assistant", "value": "<|startofthink|>[1]<|endofthink|>"}],
            "column `conversations, message 1` should call with api_name and parameters: got a list, [1]; name both",
        ),
    ],
)
def test_msagent_rows_of_another_shape_are_refused_and_never_run(value: object, message: str) -> None:
    with pytest.raises(DataError) as caught:
        msagent_react({"conversations": value})
    assert str(caught.value).startswith(message)
