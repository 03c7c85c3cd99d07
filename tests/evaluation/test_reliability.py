"""Calibration errors, ranking and thresholds of planted confidences."""

from __future__ import annotations

import math

import numpy as np
import pytest

from f2edge.evaluation import Asked, Question
from f2edge.evaluation.reliability import PRECISIONS, Reliability, reliabilities
from f2edge.evaluation.reliability_table import confidence_markdown
from tests.support.evaluations import SIZE, answer

BOX, HALF, FAR = (0.0, 0.0, 20.0, 20.0), (0.0, 0.0, 20.0, 12.0), (40.0, 0.0, 60.0, 20.0)


def asked(confidence: float, *, right: bool, task: str = "<OD>", box: tuple[float, ...] = BOX) -> Asked:
    """Return a question about one box, and an answer with one box."""
    result = answer(task, labels=("dog",), boxes=(box if right else FAR,), confidences=(confidence,), calibrated=True)
    return Asked(0, SIZE, Question(task, labels=("dog",), boxes=(BOX,)), result)


def measured(*answers: Asked) -> Reliability:
    """Measure the confidences of one task."""
    (one,) = reliabilities(answers)
    return one


def test_errors_are_the_distances_of_the_bins() -> None:
    """Of 20 objects ten have a confidence of 0.95 and are right, ten of 0.25 of which four are right."""
    one = measured(*[asked(0.95, right=True)] * 10, *[asked(0.25, right=True)] * 4, *[asked(0.25, right=False)] * 6)
    assert one.ece == pytest.approx((10 * 0.05 + 10 * 0.15) / 20)
    assert one.laece == pytest.approx(one.ece)  # the right ones overlap fully
    assert (one.objects, one.right, one.task, one.calibrated) == (20, 0.7, "<OD>", True)
    assert [(b.low, b.objects) for b in one.bins if b.objects] == [(0.2, 10), (0.9, 10)]
    assert (one.bins[2].confidence, one.bins[2].right) == (pytest.approx(0.25), pytest.approx(0.4))
    assert math.isnan(one.bins[0].right)


def test_the_localization_aware_error_wants_overlap() -> None:
    """Right objects that overlap by 0.6 are worth 0.6."""
    one = measured(*[asked(1.0, right=True, box=HALF)] * 4)
    assert (one.ece, one.laece) == (pytest.approx(0), pytest.approx(0.4))


def test_ranking() -> None:
    """The AUROC is the share of pairs of a right and a wrong object in the right order; ties count half."""
    one = measured(asked(0.9, right=True), asked(0.5, right=False), asked(0.5, right=True), asked(0.1, right=True))
    assert one.auroc == pytest.approx((1 + 0.5 + 0) / 3)
    assert math.isnan(measured(asked(0.9, right=True)).auroc)


def test_thresholds() -> None:
    """The least confidence with the wanted precision, and what is kept of the right objects; NaN if there is none."""
    confidences = np.linspace(0.5, 0.9, 20)
    answers = [asked(value, right=bool(number > 0)) for number, value in enumerate(confidences)]
    one = measured(*answers, asked(0.4, right=True))
    assert [limit.precision for limit in one.thresholds] == list(PRECISIONS)
    assert one.thresholds[0].confidence == 0.4  # 20 of 21 are right
    assert (one.thresholds[3].confidence, one.thresholds[3].kept) == (pytest.approx(confidences[1]), 19 / 20)
    hopeless = measured(asked(0.9, right=False), asked(0.9, right=True)).thresholds[0]
    assert math.isnan(hopeless.confidence)


def test_several_tasks() -> None:
    """Each has an entry, and the last one is of all together; answers without objects have none."""
    nothing = Asked(0, SIZE, Question("<CAPTION>", answers=("a dog",)), answer("<CAPTION>", "a dog"))
    both = reliabilities([asked(0.9, right=True), asked(0.8, right=False, task="<DENSE_REGION_CAPTION>"), nothing])
    assert [(one.task, one.objects) for one in both] == [("<OD>", 1), ("<DENSE_REGION_CAPTION>", 1), (None, 2)]
    assert reliabilities([nothing]) == []


def test_markdown() -> None:
    """Two tables: a row for each task, and a bar for each bin; empty if nothing can be marked."""
    both = reliabilities([asked(0.95, right=True), asked(0.85, right=False, task="<DENSE_REGION_CAPTION>")])
    lines = confidence_markdown("bundle", both).splitlines()
    assert lines[0].startswith("Confidences of bundle, calibrated.")
    assert [line.split("|")[1].strip() for line in lines[4:7]] == ["od", "dense_region_caption", "all"]
    bars = {line.split("|")[1].strip(): line.count("\N{FULL BLOCK}") for line in lines if line.startswith("| 0.")}
    assert (bars["0.9 to 1.0"], bars["0.8 to 0.9"]) == (20, 0)
    assert confidence_markdown("bundle", []) == ""
