"""Measure how far confidences can be trusted: whether they are the share of objects that are right, and rank them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from f2edge.evaluation.located import overlaps
from f2edge.evaluation.overlap import MATCH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from f2edge.evaluation.measures import Asked

BINS = 10
"""Bins of equal width that confidences are sorted into."""

PRECISIONS = (0.9, 0.95, 0.98, 0.99)
"""The shares of right objects that thresholds are given for."""


@dataclass(frozen=True)
class Bin:
    """The objects with confidences in one range; the means are NaN without any.

    Args:
        low: the lower end of the range.
        objects: how many they are.
        confidence: the mean of their confidences.
        right: the share of them that is right.
    """

    low: float
    objects: int
    confidence: float
    right: float


@dataclass(frozen=True)
class Threshold:
    """What remains if objects with smaller confidences are left out.

    Args:
        precision: the share of right objects that is wanted among those that remain.
        confidence: the least confidence that gives it; NaN if none does.
        kept: the share of all right objects that remains.
    """

    precision: float
    confidence: float
    kept: float


@dataclass(frozen=True)
class Reliability:
    """The confidences of one task, or of all tasks together.

    Args:
        task: the name of the task; None for all together.
        calibrated: whether all of these confidences are calibrated.
        objects: how many objects were marked.
        right: the share of them that is right.
        ece: the expected calibration error: the mean over objects of how far the mean confidence of a bin is from the
            share of its objects that is right.
        laece: the localization-aware one: the same with that share times the mean IoU of the right objects.
        auroc: the probability that a right object has a higher confidence than a wrong one; NaN if there are no two
            such objects.
        bins: the reliability diagram.
        thresholds: for each of :data:`PRECISIONS`.
    """

    task: str | None
    calibrated: bool
    objects: int
    right: float
    ece: float
    laece: float
    auroc: float
    bins: tuple[Bin, ...]
    thresholds: tuple[Threshold, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


def reliabilities(answers: Iterable[Asked]) -> list[Reliability]:
    """Measure the confidences of each task whose objects can be marked, and those of all tasks if they are several."""
    by_task: dict[str | None, list[Asked]] = {}
    for asked in answers:
        if asked.result.labels:
            by_task.setdefault(asked.question.task, []).append(asked)
    if len(by_task) > 1:
        by_task[None] = [asked for of_task in by_task.values() for asked in of_task]
    measured = (_reliability(task, of_task) for task, of_task in by_task.items())
    return [one for one in measured if one.objects]


def _reliability(task: str | None, answers: list[Asked]) -> Reliability:
    confidences = np.array([one for asked in answers for one in asked.result.confidences])
    found = np.concatenate([overlaps(asked) for asked in answers])
    marked = ~np.isnan(found)
    confidences, found, right = confidences[marked], found[marked], found[marked] >= MATCH
    places = np.minimum((confidences * BINS).astype(int), BINS - 1)
    return Reliability(
        task,
        all(asked.result.calibrated for asked in answers),
        len(right),
        _mean(right),
        _error(confidences, right.astype(float), places),
        _error(confidences, found, places),  # the mean overlap, 0 of what is wrong: precision x mean IoU
        _auroc(confidences, right),
        tuple(_bin(number, confidences[places == number], right[places == number]) for number in range(BINS)),
        tuple(_threshold(wanted, confidences, right) for wanted in PRECISIONS),
    )


def _error(confidences: NDArray[np.float64], of_right: NDArray[np.float64], places: NDArray[np.int64]) -> float:
    """Return the mean over all objects of the distance between the two means of each bin."""
    distances = np.abs(np.bincount(places, confidences - of_right, BINS))
    return float(distances.sum() / len(places)) if len(places) else float("nan")


def _auroc(confidences: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Return the share of pairs of a right and a wrong object that are in the right order; ties count half."""
    values, ranks = np.unique(confidences, return_inverse=True)
    of_right, of_wrong = (np.bincount(ranks[which], minlength=len(values)) for which in (right, ~right))
    pairs = of_right.sum() * of_wrong.sum()
    return float(of_right @ (np.cumsum(of_wrong) - of_wrong / 2) / pairs) if pairs else float("nan")


def _bin(number: int, confidences: NDArray[np.float64], right: NDArray[np.bool_]) -> Bin:
    return Bin(number / BINS, len(right), _mean(confidences), _mean(right))


def _threshold(wanted: float, confidences: NDArray[np.float64], right: NDArray[np.bool_]) -> Threshold:
    """Find the least confidence from which on objects have the wanted precision; equal ones stay together."""
    order = np.argsort(-confidences)
    ranked, found = confidences[order], np.cumsum(right[order])
    last = np.diff(ranked, append=-np.inf) < 0
    enough = np.flatnonzero(last & (found >= wanted * np.arange(1, len(ranked) + 1)))
    if not len(enough):
        return Threshold(wanted, float("nan"), 0.0)
    return Threshold(wanted, float(ranked[enough[-1]]), float(found[enough[-1]] / max(found[-1], 1)))


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else float("nan")
