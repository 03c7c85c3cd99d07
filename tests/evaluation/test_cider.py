"""CIDEr-D against a case computed by hand, and against the scores of coco-caption."""

from __future__ import annotations

from math import exp, log, sqrt

import pytest

from f2edge.evaluation.cider import cider

CAPTIONS = ["a red cat sits on the mat", "two dogs run", "a man rides a horse on the beach", ""]
REFERENCES = [
    ["a red cat sits on a mat", "the cat is on the mat"],
    ["two small dogs run in the park", "dogs running"],
    ["a man rides a horse along the beach"],
    ["an empty street"],
]


def test_by_hand() -> None:
    """Two pictures scored by the paper's formula: clipped unigrams and bigrams, with the penalty for length."""
    scores = cider(["a b b", "x"], [["a b"], ["c d"]])
    one = log(2)  # the weight of an n-gram that is in one of two references
    unigrams = (one * one + one * one) / (sqrt(one**2 + (2 * one) ** 2) * sqrt(2 * one**2))
    bigrams = one * one / (sqrt(2 * one**2) * one)  # "a b" of "a b", "b b"
    assert scores[0] == pytest.approx(10 * exp(-1 / (2 * 36)) * (unigrams + bigrams) / 4)
    assert scores[1] == 0


def test_scores_equal_coco_captions() -> None:
    """The scores equal those of the CiderScorer of pycocoevalcap 1.2 for the same tokens."""
    expected = [4.963648084, 1.4974451729, 6.1220168655, 0.0]
    assert cider(CAPTIONS, REFERENCES) == pytest.approx(expected, abs=1e-9)


def test_the_truth_gets_full_marks() -> None:
    """A caption of four words or more that equals its only reference scores ten."""
    texts = ["a red cat sits", "two dogs run far away", "the old man and his horse"]
    assert cider(texts, [[text] for text in texts]) == pytest.approx([10, 10, 10])


def test_scores_do_not_depend_on_other_answers() -> None:
    """The weight of a word depends on the references only."""
    assert cider(["a red cat", *CAPTIONS[1:]], REFERENCES)[1:] == cider(CAPTIONS, REFERENCES)[1:]
