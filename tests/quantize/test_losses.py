"""The loss of task metrics: that of the worst task, relative to the float model."""

from __future__ import annotations

import pytest

from f2edge.errors import DatasetError
from f2edge.evaluation import Run
from f2edge.evaluation.measures import Asked
from f2edge.evaluation.samples import Question
from f2edge.quantize.losses import largest_loss
from tests.support.evaluations import answer as answer_of


def run_of(answers: list[tuple[str, str, str]]) -> Run:
    """Return a run of (task, truth, answer) triples, one picture each."""
    run = Run()
    for number, (task, truth, answer) in enumerate(answers):
        question = Question(task, answers=(truth,))
        result = answer_of(task, answer)
        run.answers[number, 0] = Asked(number, (8, 8), question, result)
    return run


RIGHT = [("<REGION_TO_CATEGORY>", "cat", "cat")] * 4 + [("<OCR>", "abcd", "abcd")] * 2


def test_the_same_answers_lose_nothing() -> None:
    """Equal answers lose nothing, and neither do better ones."""
    assert largest_loss(run_of(RIGHT), run_of(RIGHT)) == 0.0
    worse = [("<REGION_TO_CATEGORY>", "cat", "dog"), *RIGHT[1:]]
    assert largest_loss(run_of(worse), run_of(RIGHT)) == 0.0


def test_the_worst_task_counts() -> None:
    """One wrong category of four loses a quarter; one wrong character of eight loses an eighth."""
    category = [("<REGION_TO_CATEGORY>", "cat", "dog"), *RIGHT[1:]]
    characters = [*RIGHT[:-1], ("<OCR>", "abcd", "abce")]
    assert largest_loss(run_of(RIGHT), run_of(category)) == pytest.approx(0.25)
    assert largest_loss(run_of(RIGHT), run_of(characters)) == pytest.approx(0.125)


def test_relative_to_the_float_model() -> None:
    """One right answer where the float model has two loses a half."""
    half = [("<REGION_TO_CATEGORY>", "cat", word) for word in ("cat", "cat", "dog", "dog")]
    quarter = [("<REGION_TO_CATEGORY>", "cat", word) for word in ("cat", "dog", "dog", "dog")]
    assert largest_loss(run_of(half), run_of(quarter)) == pytest.approx(0.5)


def test_nothing_to_lose() -> None:
    """If the float model gets nothing right, no loss can be computed, which is an error."""
    wrong = [("<REGION_TO_CATEGORY>", "cat", "dog")]
    with pytest.raises(DatasetError, match="no metric applies"):
        largest_loss(run_of(wrong), run_of(wrong))
