"""Multiple-choice questions: what is read of them, and accuracies beside a plain forward, question by question."""

from __future__ import annotations

import json

import pytest
import torch

import xtune
from xtune import Conversation, Turn
from xtune.errors import DataError
from xtune.evaluation.multiple_choice import Question, accuracy, read_questions

ROWS = [{"input": f"{n} w{n}: " + "x" * (n % 5), "output": "ABC"[n % 3]} for n in range(14)]


def asked(question: str, answer: str) -> Conversation:
    return Conversation((Turn("user", question), Turn("assistant", answer)))


def letters(conversation: Conversation) -> list[int]:
    return [ord(letter) for turn in conversation.turns for letter in f"{turn.role[0]}:{turn.text}\n"]


def test_a_question_ends_where_its_possible_answers_differ():
    found = read_questions("quiz", [asked("1?", " A 1"), asked("2?", "A 2\n"), asked("3?", "A 1")], letters)
    assert [bytes(question.ids).decode() for question in found] == ["u:1?\na:A ", "u:2?\na:A ", "u:3?\na:A "]
    assert [question.options for question in found] == [[ord("1"), ord("2")]] * 3
    assert [question.right for question in found] == [0, 1, 0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([asked("1?", "A")] * 3, "quiz is no multiple choice: got 1 different answers to 3 questions; give rows whose"),
        ([asked(f"{n}?", str(n)) for n in range(30)], "got 30 different answers to 30 questions"),
        ([asked("1?", "A"), Conversation((Turn("user", "2?"),))], "is no multiple choice"),
        ([], "got 0 different answers to 0 questions"),
        ([asked("1?", "A"), asked("2?", "B"), asked("3?", "B")], None),
    ],
)
def test_what_is_no_multiple_choice_is_refused(rows, message):
    if message is None:
        assert len(read_questions("quiz", rows, letters)) == 3
        return
    with pytest.raises(DataError, match=message):
        read_questions("quiz", rows, letters)


def test_answers_that_begin_alike_are_refused():
    rows = [asked("1?", "A1"), asked("2?", "A2"), asked("3?", "B")]
    with pytest.raises(DataError, match="answers that begin with the same token: got A1, A2, B; use letters instead"):
        read_questions("quiz", rows, letters)


def test_a_set_that_has_nothing_to_ask_is_refused():
    rows = [asked("1?", "A"), asked("2?", "B")]
    place = len(read_questions("quiz", rows, letters)[0].ids)
    assert len(read_questions("quiz", rows, letters, place + 1)) == 2
    with pytest.raises(DataError, match=f"no question that the model can be asked: got {place} tokens in the shortest"):
        read_questions("quiz", rows, letters, place)


def test_questions_too_long_to_ask_are_counted():
    logits = {3: [0.0, 9.0, 1.0], 2: [5.0, 0.0, 0.0]}

    def next_logits(prompts):
        return torch.tensor([logits[len(ids)] for ids in prompts])

    questions = [Question([7, 7, 7], [1, 2], 0), Question([7, 7], [1, 0], 0), Question([7] * 9, [1, 2], 0)]
    found = accuracy(questions, next_logits, batch_size=4, context=8)
    assert found == {"questions": 2, "right": 1, "accuracy": 0.5, "too_long": 1}


def test_a_run_measures_what_plain_transformers_says(tiny_model, tmp_path):
    from transformers import AutoModelForCausalLM

    quiz, rows = tmp_path / "quiz.json", tmp_path / "rows.json"
    quiz.write_text(json.dumps(ROWS))
    rows.write_text(json.dumps([{"instruction": f"{n}?", "output": "yes"} for n in range(8)]))
    config = xtune.load_config(
        "smollm2_135m_instruct_lora_alpaca_e3",
        {
            "model.path": str(tiny_model),
            "data": [{"path": str(rows), "mapper": "alpaca"}],
            "max_length": 128,
            "train.batch_size": 3,
            "train.max_steps": 1,
            "evaluation.prompts": [],
            "evaluation.choices": [{"path": str(quiz), "mapper": "default"}],
        },
    )
    result = xtune.train(config, tmp_path / "run")
    before, after = result.choices
    assert before["step"] == 0 and after["step"] == 1 and before["questions"] == len(ROWS)
    assert json.loads((tmp_path / "run" / "choices.jsonl").read_text().splitlines()[0]) == before

    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_model), xtune.load_tokenizer(tiny_model)
    options = [tokenizer.convert_tokens_to_ids(letter) for letter in "ABC"]
    right = 0
    for row in ROWS:
        ids = xtune.encode(Conversation((Turn("user", row["input"]),)), "chatml", tokenizer, generation_prompt=True).ids
        with torch.no_grad():
            logits_V = model(torch.tensor([ids])).logits[0, -1]
        right += "ABC"[int(logits_V[options].argmax())] == row["output"]
    assert before["right"] == right
    assert "quiz.json" in (tmp_path / "run" / "report.html").read_text()
