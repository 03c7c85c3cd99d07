"""Metrics as functions of a choice of pictures, and their confidence intervals by a paired bootstrap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from f2edge.arrays import IntArray

RESAMPLES = 500
"""The number of bootstrap draws."""

_SEED = 0
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Metric:
    """A metric: its key in JSON, its title in tables, and whether more is better."""

    key: str
    title: str
    higher_is_better: bool = True


class Statistic(Protocol):
    """One or more metrics of the same answers, as a function of a choice of pictures.

    ``count`` is the number of questions, phrases or boxes that they are over, ``pictures`` the number of pictures.
    """

    metrics: tuple[Metric, ...]
    count: int
    pictures: int

    def __call__(self, picks: IntArray) -> Sequence[float]:
        """Return each metric over these pictures, each counted as often as it is picked; NaN if it has no value."""


class Ratio:
    """A sum divided by a sum: a mean, a rate or an F1 score.

    Args:
        metric: the metric.
        pictures: the picture of each item, from 0 to the number of pictures - 1.
        numerators: the numerator of each item.
        denominators: the denominator of each item; by default 1, which gives a mean.
    """

    def __init__(
        self,
        metric: Metric,
        pictures: Sequence[int],
        numerators: Sequence[float],
        denominators: Sequence[float] | None = None,
    ) -> None:
        ones = np.ones(len(numerators)) if denominators is None else denominators
        self.metrics: tuple[Metric, ...] = (metric,)
        self.count = len(numerators)
        self._numerators = np.bincount(pictures, weights=numerators)
        self._denominators = np.bincount(pictures, weights=ones)
        self.pictures = len(self._numerators)

    def __call__(self, picks: IntArray) -> Sequence[float]:
        """Return the ratio over these pictures."""
        total = float(self._denominators[picks].sum())
        return [float(self._numerators[picks].sum()) / total if total else float("nan")]


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % confidence interval; NaN if there is none."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Return the three numbers as plain values."""
        return {"value": self.value, "low": self.low, "high": self.high}


def bootstrap(statistics: Sequence[Statistic], resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Compute the metrics of several bundles over the same draws of pictures (paired bootstrap of Efron).

    Args:
        statistics: the same metrics over the same pictures, one per bundle.
        resamples: the number of draws.

    Returns:
        Array (1 + resamples, bundles, metrics) float64; the first row is over all pictures once.
    """
    pictures = statistics[0].pictures
    generator = np.random.default_rng(_SEED)
    draws = (generator.integers(0, pictures, pictures) for _ in range(resamples))
    return np.array([[statistic(picks) for statistic in statistics] for picks in (np.arange(pictures), *draws)])


def estimate(values: NDArray[np.float64]) -> Estimate:
    """Return the first value, with the interval from the other values, which are bootstrap draws.

    The interval is that of the percentiles of the draws, shifted by their bias: mAP over pictures that are drawn twice
    is systematically higher, which says nothing about the bundle.  A mean has no such bias.
    """
    drawn = values[1:][np.isfinite(values[1:])]
    if not drawn.size or len(values) == 1:
        return Estimate(float(values[0]), float("nan"), float("nan"))
    low, high = np.percentile(drawn, _PERCENTILES) - drawn.mean() + values[0]
    return Estimate(float(values[0]), float(low), float(high))
