"""Statistics of times: percentiles from enough runs only, and the interval of a ratio by a bootstrap."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LEAST_RUNS = {50: 1, 90: 10, 99: 100}
"""The runs that each percentile takes: with fewer of them, no run or only the slowest one is above it."""

LEVEL = 0.99
"""The confidence level of a comparison: of A against A, one comparison in a hundred finds a difference by chance."""

BETWEEN_LOADS = 0.01
"""About how far apart two loads of one bundle are: in two runs the mean of 20 comparisons of the same two loads was off
by 1.1 % and by 0.5 % (docs/measure.md), presumably since their weights lie elsewhere in memory.  More rounds tell that
the loads differ, but not that two bundles do."""

RESAMPLES = 2000
LEAST_ROUNDS = 10
"""Fewer rounds give an interval that is too narrow: in simulations one comparison in fourteen of A against A with 5
rounds found a difference, and at most one in thirty with 10."""
_SEED = 0

_PARTS = 8
_LEAST_OF_A_PART = 5
_SHUFFLES = 200
STEADY = 1.03
"""The largest ratio of two medians of one measurement that is called steady, however certain it is."""


def percentile(samples: Sequence[float], rank: int) -> float | None:
    """Return a percentile; None if there are too few samples for it."""
    return float(np.percentile(samples, rank)) if len(samples) >= LEAST_RUNS[rank] else None


def statistics(samples: Sequence[float]) -> dict[str, float | None]:
    """Return ``p50``, ``p90``, ``p99``, ``mean`` and ``stdev``, rounded to 4 digits behind the point."""
    values = {f"p{rank}": percentile(samples, rank) for rank in LEAST_RUNS}
    values |= {"mean": float(np.mean(samples)), "stdev": float(np.std(samples))}
    return {name: None if value is None else round(value, 4) for name, value in values.items()}


def changing_medians(samples: Sequence[float]) -> tuple[float, float] | None:
    """Return the least and the largest median of the eighths of a measurement, if its speed has changed.

    It has if the two differ by more than :data:`STEADY`, and the mean ranks of the eighths by more than in 99 % of
    random orders of the samples.  Ranks, since one long stall would move a mean.  With fewer than 40 samples there is
    no telling.
    """
    size = len(samples) // _PARTS
    if size < _LEAST_OF_A_PART:
        return None
    values, generator = np.asarray(samples[: size * _PARTS], float), np.random.default_rng(_SEED)
    medians = np.median(values.reshape(_PARTS, size), axis=1)
    ranks = np.unique(values, return_inverse=True)[1]
    by_chance = [_spread(generator.permutation(ranks)) for _ in range(_SHUFFLES)]
    low, high = float(medians.min()), float(medians.max())
    return (low, high) if high > low * STEADY and _spread(ranks) > np.quantile(by_chance, LEVEL) else None


def _spread(ranks: NDArray[np.int64]) -> float:
    return float(np.ptp(ranks.reshape(_PARTS, -1).mean(axis=1)))


@dataclass(frozen=True)
class Ratio:
    """A ratio of times, with its confidence interval at :data:`LEVEL`.

    Args:
        ratio: the time of the first divided by the time of the second.
        low: the lower end of the interval; None with fewer than :data:`LEAST_ROUNDS` rounds.
        high: the upper end of the interval; None with fewer rounds than that.
    """

    ratio: float
    low: float | None
    high: float | None

    @property
    def differs(self) -> bool | None:
        """Whether the interval lies beyond what two loads of one bundle differ by; None without an interval."""
        if self.low is None or self.high is None:
            return None
        return self.low > 1 + BETWEEN_LOADS or self.high < 1 - BETWEEN_LOADS

    def to_json(self) -> dict[str, float | bool | None]:
        """Return everything as plain values."""
        return {**asdict(self), "differs": self.differs}


def verdict(names: Sequence[str], tokens: Sequence[int], ratio: Ratio, level: float, unknown: str) -> str:
    """Say in one line what a comparison found.

    Args:
        names: what is compared, and with what.
        tokens: the tokens of their answers.
        ratio: the time of the first divided by that of the second.
        level: the confidence level of its interval.
        unknown: what is said if it has no interval.
    """
    told = f"{names[0]} takes {ratio.ratio:.3f} of the time of {names[1]}"
    if tokens[0] != tokens[1]:
        told += f", but their answers have {tokens[0]} and {tokens[1]} tokens"
    if ratio.low is None or ratio.high is None:
        return f"{told}; {unknown}"
    found = "a difference" if ratio.differs else "no difference of more than chance and two loads of one bundle give"
    return f"{told} ({level:.0%} interval {ratio.low:.3f} to {ratio.high:.3f}): {found}"


def typical_ratio(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> Ratio:
    """Compare samples that were taken in rounds of both.

    Each round has a ratio, so that what slows down both in a round does not count.  The result is the geometric mean of
    the middle half of the ratios, which a few disturbed rounds do not move.  The bootstrap draws whole rounds.

    Args:
        first: for each round, the samples of the first; as many in each round.
        second: for each round, the samples of the second.
    """
    logs = np.log(np.mean(first, axis=1) / np.mean(second, axis=1))
    value, rounds = _ratio(logs), len(logs)
    if rounds < LEAST_ROUNDS:
        return Ratio(float(value), None, None)
    picks = np.random.default_rng(_SEED).integers(0, rounds, (RESAMPLES, rounds))
    low, high = np.percentile(_ratio(logs[picks]), [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Ratio(float(value), round(float(low), 5), round(float(high), 5))


def _ratio(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the geometric mean of the middle half of ratios, whose logarithms (..., rounds) are given."""
    quarter = logs.shape[-1] // 4
    middle = np.sort(logs, axis=-1)[..., quarter : logs.shape[-1] - quarter]
    return np.asarray(np.round(np.exp(middle.mean(axis=-1)), 5))
