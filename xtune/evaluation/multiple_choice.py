"""Accuracy on questions with a few possible answers, such as the letters of MMLU (arXiv:2009.03300).

An answer is what the model finds likeliest among the possible ones, by the first token in which they differ: no text is
generated. Questions are written with the template that is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from xtune.conversation import Conversation, Turn
from xtune.errors import DataError
from xtune.evaluation.held_out import CHECK_EVERY

MOST_ANSWERS = 26


@dataclass(frozen=True)
class Question:
    """The ids up to where the possible answers differ, the token of each there, and which of them is right."""

    ids: list[int]
    options: list[int]
    right: int


def read_questions(
    name: str,
    conversations: Iterable[Conversation],
    encode: Callable[[Conversation], list[int]],
    context: int | None = None,
) -> list[Question]:
    """One question a conversation: its last turn is the right answer. The possible answers are all those in the data.

    Raises DataError where that is no multiple choice, and where no question fits into `context` tokens.
    """
    asked = list(conversations)
    answers = [answer_of(conversation) for conversation in asked]
    possible = sorted(set(answers))
    if not 2 <= len(possible) <= MOST_ANSWERS or "" in possible:
        raise DataError(
            f"{name} is no multiple choice: got {len(possible)} different answers to {len(asked)} questions",
            f"give rows whose answers are 2 to {MOST_ANSWERS} letters or words",
        )
    found = []
    for conversation, answer in zip(asked, answers, strict=True):
        question = conversation.turns[:-1]
        whole = [encode(Conversation((*question, Turn("assistant", text)))) for text in possible]
        place, options = first_difference(whole)
        if len(set(options)) < len(possible):
            raise DataError(
                f"{name} has answers that begin with the same token: got {', '.join(possible)}", "use letters instead"
            )
        found.append(Question(whole[0][:place], options, possible.index(answer)))
    shortest = min(len(question.ids) for question in found)
    if context is not None and shortest >= context:
        raise DataError(
            f"{name} has no question that the model can be asked: got {shortest} tokens in the shortest, its "
            f"context is {context}",
            "give shorter ones",
        )
    return found


def answer_of(conversation: Conversation) -> str:
    """The text of the last turn, where that is an answer."""
    last = conversation.turns[-1] if conversation.turns else Turn("user", "")
    return last.text.strip() if last.role == "assistant" else ""


def first_difference(sequences: Sequence[Sequence[int]]) -> tuple[int, list[int]]:
    """The first place where the sequences are not all alike, and what each has there; none where one ends before."""
    for place, values in enumerate(zip(*sequences, strict=False)):
        if len(set(values)) > 1:
            return place, list(values)
    return min(map(len, sequences)), []


def accuracy(
    questions: Sequence[Question],
    next_logits: Callable[[Sequence[Sequence[int]]], Tensor],
    *,
    batch_size: int,
    context: int | None,
    check: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """How many of `questions` are answered right. Those longer than `context` tokens (not all are) are not asked.

    `next_logits` gives logits_BV of what follows each prompt. `check` may break it off with an exception, on all ranks.
    """
    fitting = [question for question in questions if context is None or len(question.ids) < context]
    fitting.sort(key=lambda question: len(question.ids), reverse=True)
    right = 0
    for start in range(0, len(fitting), batch_size):
        if start % (CHECK_EVERY * batch_size) == 0:
            check()
        batch = fitting[start : start + batch_size]
        logits_BV = next_logits([question.ids for question in batch])
        for question, logits_V in zip(batch, logits_BV, strict=True):
            right += int(logits_V[question.options].argmax()) == question.right
    return {
        "questions": len(fitting),
        "right": right,
        "accuracy": right / len(fitting),
        "too_long": len(questions) - len(fitting),
    }
