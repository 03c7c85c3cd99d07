"""Calibrations that are fitted on planted objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from f2edge.calibration.confidence import ENOUGH, fit_confidences, marking
from f2edge.errors import DatasetError
from f2edge.evaluation import Asked, Question
from f2edge.tasks.confidence import Features
from tests.support.evaluations import SIZE, answer, write_jsonl, write_picture

if TYPE_CHECKING:
    from pathlib import Path

BOX, FAR = (0.0, 0.0, 20.0, 20.0), (40.0, 0.0, 60.0, 20.0)


def chance(features: Features) -> float:
    """Return the probability that an object is right, as it is planted."""
    return float(1 / (1 + np.exp(-(3 + 2 * features.label + 4 * features.place))))


def answers(count: int, seed: int, task: str = "<OD>") -> list[Asked]:
    """Return answers of one object each, which are right with their planted probability."""
    rng, made = np.random.default_rng(seed), []
    for _ in range(count):
        features = Features(*(-rng.exponential(0.7, 2)).tolist())
        box = BOX if rng.random() < chance(features) else FAR
        result = answer(task, labels=("dog",), boxes=(box,), features=(features,))
        made.append(Asked(0, SIZE, Question(task, labels=("dog",), boxes=(BOX,)), result))
    return made


def test_the_planted_probability_is_learnt() -> None:
    """On other objects confidences are off by a few points, and they ascend with the probability."""
    calibration = fit_confidences(answers(3000, seed=0))["<OD>"]
    others = [one.result.features[0] for one in answers(1000, seed=1)]
    truth, fitted = np.array([chance(one) for one in others]), np.array([calibration(one) for one in others])
    assert np.abs(fitted - truth).mean() < 0.04
    assert np.corrcoef(truth, fitted)[0, 1] > 0.97
    assert list(calibration.faults()) == []
    assert (calibration.objects, 0 < calibration.right < 3000) == (3000, True)
    assert 0 < min(calibration.confidences) < max(calibration.confidences) < 1


def test_confidences_keep_the_order() -> None:
    """Knots are strictly ascending in place, so that few objects share a confidence."""
    calibration = fit_confidences(answers(400, seed=0))["<OD>"]
    middle = [
        calibration(one.result.features[0])
        for one in answers(400, seed=2)
        if calibration.confidences[0] < calibration(one.result.features[0]) < calibration.confidences[-1]
    ]
    assert len(set(middle)) > 0.9 * len(middle)


def test_a_task_with_few_objects_gets_the_fit_of_all() -> None:
    """It has no fit of its own; that of a task with enough is not changed by it."""
    many, few = answers(500, seed=0), answers(ENOUGH, seed=1, task="<DENSE_REGION_CAPTION>")
    fitted = fit_confidences([*many, *few])
    assert fitted["<OD>"] == fit_confidences(many)["<OD>"]
    assert fitted["<DENSE_REGION_CAPTION>"].objects == 500 + ENOUGH


def test_a_more_certain_object_is_never_less_probable() -> None:
    """A feature that goes the other way in the data, by chance or not, gets no weight."""
    rng = np.random.default_rng(0)
    turned = []
    for one in answers(500, seed=0):
        label = -float(rng.exponential(0.7))
        box = FAR if rng.random() < np.exp(label) else BOX
        features = Features(label, one.result.features[0].place)
        result = answer("<OD>", labels=("dog",), boxes=(box,), features=(features,))
        turned.append(Asked(0, SIZE, one.question, result))
    assert fit_confidences(turned)["<OD>"].weights[0] == 0


def test_too_few_objects_are_refused() -> None:
    """One line says how many there are, and how many are needed."""
    right = [one for one in answers(200, seed=0) if one.result.boxes[0] == BOX][:30]
    with pytest.raises(DatasetError, match="30 of 30 objects in the answers are right; confidences need at least 10"):
        fit_confidences(right)
    with pytest.raises(DatasetError, match="0 of 0 objects"):
        fit_confidences([])


def test_only_questions_that_locate_are_asked(tmp_path: Path) -> None:
    """Captions mark no object; a question about what is not there stays."""
    write_picture(tmp_path / "a.png")
    od = {"task": "OD", "labels": ["star"], "boxes": [[0, 0, 30, 30]]}
    questions = [{"task": "caption", "answers": ["a star"]}, od, {"task": "OD", "labels": [], "boxes": []}]
    write_jsonl(tmp_path / "truth.jsonl", [{"image": "a.png", "questions": questions}])
    (sample,) = marking(tmp_path).samples
    assert [question.task for question in sample.questions] == ["<OD>", "<OD>"]


def test_data_without_shapes_is_refused(tmp_path: Path) -> None:
    """A data set of captions calibrates no confidences."""
    write_picture(tmp_path / "a.png")
    questions = [{"task": "caption", "answers": ["a star"]}]
    write_jsonl(tmp_path / "truth.jsonl", [{"image": "a.png", "questions": questions}])
    with pytest.raises(DatasetError, match=f"{tmp_path} has no true boxes, quads or polygons; confidences need them"):
        marking(tmp_path)
