"""What an evaluation asks for: a checkpoint where it is the best, and an end where none is gained any more."""

from __future__ import annotations

import pytest

from xtune.checkpoints.journal import Journal
from xtune.evaluation.evaluator import Evaluator


@pytest.fixture
def evaluator(tmp_path):
    """An Evaluator that measures the given losses one after another."""

    def make(losses, **options):
        left = iter(losses)
        return Evaluator(
            evaluations=Journal(tmp_path / "evaluations.jsonl"),
            answers=Journal(tmp_path / "answers.jsonl"),
            measure=lambda: {"loss": next(left)},
            ask=list,
            choices=Journal(tmp_path / "choices.jsonl"),
            choose=list,
            **options,
        )

    return make


def test_the_best_is_saved_even_if_the_untouched_model_was_better(evaluator):
    evaluate = evaluator([1.0, 1.3, 1.1, 1.2], keep_best=True)
    assert [evaluate(step).save for step in (0, 100, 200, 300)] == [False, True, True, False]
    assert evaluate.best == {"step": 200, "loss": 1.1}


def test_nothing_is_saved_for_being_best_unless_asked(evaluator):
    evaluate = evaluator([1.0, 0.5])
    assert not evaluate(0).save and not evaluate(100).save and evaluate.best is None


def test_patience_counts_evaluations_without_gain(evaluator):
    evaluate = evaluator([1.0, 0.9, 0.95, 0.91], patience=2)
    assert [evaluate(step).stop for step in (0, 1, 2, 3)] == [False, False, False, True]
