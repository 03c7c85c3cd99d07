"""Fit the confidences of located objects: the probability that an object is right, from its features."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from f2edge.errors import DatasetError, MissingExtraError
from f2edge.evaluation import open_dataset
from f2edge.evaluation.located import overlaps
from f2edge.evaluation.overlap import MATCH
from f2edge.evaluation.pictures import check_pictures
from f2edge.tasks.confidence import Calibration
from f2edge.tasks.table import resolve

try:
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
except ImportError as error:
    raise MissingExtraError("scikit-learn", "eval") from error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from f2edge.evaluation.measures import Asked
    from f2edge.evaluation.samples import Dataset, Question, Sample
    from f2edge.tasks.confidence import Features

Marked: TypeAlias = "tuple[Features, bool]"
"""The features of an object, and whether it is right."""

LEAST = 10
"""A fit needs at least as many objects that are right, and as many that are wrong."""

ENOUGH = 30
"""A task with at least as many of each has a fit of its own.  With some 20 wrong objects, weights came out negative."""


def fit_confidences(answers: Iterable[Asked]) -> dict[str, Calibration]:
    """Fit a calibration for each task from questions and their answers.

    A task with few objects gets what was fitted on the objects of all tasks together.

    Returns:
        The calibration of each task whose answers have objects, by its name.

    Raises:
        DatasetError: no object can be marked, or too few are right, or too few are wrong.
    """
    marked = _marked(answers)
    right = [one for of_task in marked.values() for _, one in of_task]
    if min(right.count(True), right.count(False)) < LEAST:
        raise DatasetError(
            f"{right.count(True)} of {len(right)} objects in the answers are right; confidences need at least {LEAST} "
            f"right and {LEAST} wrong ones: give more pictures, and among them such as the model gets wrong"
        )
    together = _fit([one for of_task in marked.values() for one in of_task])
    return {task: _fit(of_task) if _enough(of_task) else together for task, of_task in marked.items()}


def marking(source: Path, limit: int | None = None) -> Dataset:
    """Open a data set, and keep what objects can be marked by: questions of tasks that locate, and their pictures.

    Args:
        source: a folder or file as ``f2edge eval`` reads.
        limit: the most pictures of the data set that are looked at.

    Raises:
        DatasetError: it is no data set, or has no true boxes, quads or polygons.
    """
    dataset = check_pictures(open_dataset(source).first(limit))
    samples = with_locations(dataset.samples)
    if not samples:
        raise DatasetError(f"{source} has no true boxes, quads or polygons; confidences need them")
    return replace(dataset, samples=samples)


def with_locations(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Keep the questions of tasks that locate; none if no question has a true box, quad or polygon."""
    kept = (replace(one, questions=tuple(filter(_locates, one.questions))) for one in samples)
    located = tuple(one for one in kept if one.questions)
    has_shapes = any(
        question.boxes or question.quads or question.polygons for one in located for question in one.questions
    )
    return located if has_shapes else ()


def _locates(question: Question) -> bool:
    return resolve(question.task).parser != "pure_text"


def _marked(answers: Iterable[Asked]) -> dict[str, list[Marked]]:
    """Return the features of the objects of each task, and whether each of them is right."""
    marked = defaultdict[str, list[Marked]](list)
    for asked in answers:
        for features, overlap in zip(asked.result.features, overlaps(asked), strict=True):
            if not np.isnan(overlap):
                marked[asked.question.task].append((features, bool(overlap >= MATCH)))
    return marked


def _enough(marked: Sequence[Marked]) -> bool:
    right = sum(one for _, one in marked)
    return ENOUGH <= right <= len(marked) - ENOUGH


def _fit(marked: Sequence[Marked]) -> Calibration:
    """Fit a logistic regression, and an isotonic regression of what it gives.

    A knot is the mean of a step of the isotonic regression, so that confidences go on ranking within a step.  Half a
    right and half a wrong object are added to each, so that none is certain.
    """
    features, right = np.array([one for one, _ in marked]), np.array([one for _, one in marked])
    scaler, regression = StandardScaler(), LogisticRegression()
    make_pipeline(scaler, regression).fit(features, right)
    weights = np.maximum(regression.coef_[0], 0) / scaler.scale_  # what is more certain is never less probable
    bias = float(regression.intercept_[0] - weights @ scaler.mean_)
    logits = features @ weights + bias
    steps = IsotonicRegression().fit_transform(logits, right)
    knots = [(logits[steps == step].mean(), _rate(right[steps == step])) for step in np.unique(steps)]
    places, rates = np.array(knots).T
    rates = np.maximum.accumulate(rates)
    return Calibration(bias, _floats(weights), _floats(places), _floats(rates), len(right), int(right.sum()))


def _rate(right: NDArray[np.bool_]) -> float:
    return float((right.sum() + 0.5) / (len(right) + 1))


def _floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(map(float, values))
