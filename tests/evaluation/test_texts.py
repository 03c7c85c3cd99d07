"""Edit distance and VQA's accuracy, against cases computed by hand."""

from __future__ import annotations

import pytest

from f2edge.evaluation.texts import answer_accuracy, edit_distance, plain
from f2edge.evaluation.vqa import normalise_answer


def test_plain() -> None:
    """Any run of white space becomes one space."""
    assert plain("  a\n b\t\tc ") == "a b c"


@pytest.mark.parametrize(("a", "b", "expected"), [("kitten", "sitting", 3), ("", "abc", 3), ("STOP", "SHIP", 2)])
def test_edit_distance(a: str, b: str, expected: int) -> None:
    """Insertions, deletions and substitutions cost one each."""
    assert edit_distance(a, b) == edit_distance(b, a) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Two Dogs.", "2 dogs"),
        ("Dont walk!", "don't walk"),
        ("its hes", "its he's"),
        ("$3.50, please", "$3.50 please"),
        ("1,000/day", "1000day"),
        ("50% #1 a:b", "50% #1 a:b"),
        ("yes/no", "yes no"),
        ("none", "0"),
        ("an", ""),
    ],
)
def test_normalise_answer(text: str, expected: str) -> None:
    """Case, articles, number words and the challenge's own list of marks do not count; points within numbers do."""
    assert normalise_answer(text) == expected


@pytest.mark.parametrize(("agreeing", "expected"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (10, 1)])
def test_accuracy_among_ten_people(agreeing: int, expected: float) -> None:
    """VQA's formula, the mean over ten subsets of nine: one of ten people gives 9 x 1/3 / 10."""
    people = ["Nokia"] * agreeing + [f"other {n}" for n in range(10 - agreeing)]
    assert answer_accuracy("nokia.", people) == pytest.approx(expected)


def test_accuracy_with_few_answers() -> None:
    """Of fewer than ten answers, any one makes the answer right."""
    assert answer_accuracy("a dog", ["cat", "Dog"]) == 1
    assert answer_accuracy("a dog", ["cat"]) == 0
