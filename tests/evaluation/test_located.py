"""Objects are right if their label is that of a true object, and they overlap it by IoU 0.5."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from f2edge.evaluation import Asked, Question
from f2edge.evaluation.located import overlaps
from tests.support.evaluations import SIZE, answer

BOX, HALF, FAR = (0.0, 0.0, 20.0, 20.0), (0.0, 0.0, 20.0, 12.0), (40.0, 0.0, 60.0, 20.0)
QUAD = (0.0, 0.0, 20.0, 0.0, 20.0, 10.0, 0.0, 10.0)


def marked(task: str, truth: dict[str, Any], **answered: Any) -> list[float]:
    """Return the overlaps of the objects of an answer."""
    return overlaps(Asked(0, SIZE, Question(task, **truth), answer(task, **answered))).tolist()


def test_labels_count_whatever_their_case() -> None:
    """A box with another label is wrong."""
    truth = {"labels": ("dog", "cat"), "boxes": (BOX, FAR)}
    assert marked("<OD>", truth, labels=("Dog", "dog", "bird"), boxes=(HALF, FAR, BOX)) == [0.6, 0, 0]


def test_a_true_object_is_in_one_pair() -> None:
    """Of two boxes around one object only the better one is right."""
    assert marked("<OD>", {"labels": ("dog",), "boxes": (BOX,)}, labels=("dog",) * 2, boxes=(HALF, BOX)) == [0, 1]


def test_region_proposals_have_no_labels() -> None:
    """Any true box will do."""
    assert marked("<REGION_PROPOSAL>", {"boxes": (FAR, BOX)}, boxes=(BOX,)) == [1]


def test_what_is_not_there() -> None:
    """An answer to a question about something absent is wrong."""
    assert marked("<OPEN_VOCABULARY_DETECTION>", {}, labels=("dog",), boxes=(BOX,)) == [0]


def test_quads_and_masks() -> None:
    """Lines of text have labels, masks are one object each."""
    quads = {"labels": ("STOP",), "quads": (QUAD,)}
    assert marked("<OCR_WITH_REGION>", quads, labels=("stop", "GO"), quads=(QUAD, QUAD)) == [1, 0]
    mask = {"polygons": (QUAD,), "labels": ("dog",), "boxes": (BOX,)}
    assert marked("<REGION_TO_SEGMENTATION>", mask, polygons=((QUAD,),)) == [1]


def test_what_cannot_be_marked() -> None:
    """A box within a crowd, and shapes that the truth does not have, are neither right nor wrong."""
    truth = {"labels": ("dog", "dog"), "boxes": (BOX, FAR), "crowd": (False, True)}
    assert np.array_equal(
        marked("<OD>", truth, labels=("dog",) * 3, boxes=(FAR, FAR, BOX)), [math.nan, math.nan, 1], equal_nan=True
    )
    boxes = {"labels": ("dog",), "boxes": (BOX,)}
    assert np.isnan(marked("<OPEN_VOCABULARY_DETECTION>", boxes, labels=("dog",), polygons=((QUAD,),))).all()


@pytest.mark.parametrize("truth", [{}, {"labels": ("dog",), "boxes": (BOX,)}])
def test_an_answer_without_objects(truth: dict[str, Any]) -> None:
    """There is nothing to mark."""
    assert marked("<OD>", truth) == []
