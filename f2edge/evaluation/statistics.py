"""What a metric is over any choice of pictures, and from that how sure one can be of it and of differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from f2edge.arrays import IntArray

RESAMPLES = 500
"""Draws of the bootstrap."""

_SEED = 0
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Metric:
    """A metric: its key in JSON, its title in tables, and whether more is better."""

    key: str
    title: str
    higher_is_better: bool = True


class Statistic(Protocol):
    """One or more metrics of the same answers, as a function of the pictures that count.

    ``count`` is how many things they are about (questions, phrases, boxes), ``pictures`` how many pictures.
    """

    metrics: tuple[Metric, ...]
    count: int
    pictures: int

    def __call__(self, picks: IntArray) -> Sequence[float]:
        """The value of each metric over these pictures, each as often as it is picked; NaN where it has none."""


class Ratio:
    """A sum over a sum: means, rates and F1 alike.

    Args:
        metric: what it is.
        pictures: for each thing the picture, from 0 to the number of pictures - 1.
        numerators: for each thing.
        denominators: for each thing; by default 1, which makes it a mean.
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
        """The ratio over these pictures."""
        total = float(self._denominators[picks].sum())
        return [float(self._numerators[picks].sum()) / total if total else float("nan")]


@dataclass(frozen=True)
class Estimate:
    """A value and the 95 % interval that it lies in; NaN where there is none."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """The three as plain values."""
        return {"value": self.value, "low": self.low, "high": self.high}


def bootstrap(statistics: Sequence[Statistic], resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """The metrics of several bundles over the same draws of the same pictures (Efron's bootstrap, paired).

    Args:
        statistics: of the same metrics and pictures, one per bundle.
        resamples: how many draws.

    Returns:
        (1 + resamples, bundles, metrics); the first row is over the pictures as they are.
    """
    pictures = statistics[0].pictures
    generator = np.random.default_rng(_SEED)
    draws = (generator.integers(0, pictures, pictures) for _ in range(resamples))
    return np.array([[statistic(picks) for statistic in statistics] for picks in (np.arange(pictures), *draws)])


def estimate(values: NDArray[np.float64]) -> Estimate:
    """The first of the values, with the interval that the others, draws of the bootstrap, give.

    It is the interval of the draws' percentiles, moved by the draws' bias: mAP over pictures that are drawn twice is
    systematically higher, which is no news about the bundle.  For a mean there is no bias to move by.
    """
    drawn = values[1:][np.isfinite(values[1:])]
    if not drawn.size or len(values) == 1:
        return Estimate(float(values[0]), float("nan"), float("nan"))
    low, high = np.percentile(drawn, _PERCENTILES) - drawn.mean() + values[0]
    return Estimate(float(values[0]), float(low), float(high))
