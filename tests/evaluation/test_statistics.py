"""Ratios over pictures, and the intervals of the bootstrap."""

from __future__ import annotations

import math

import numpy as np
import pytest

from f2edge.evaluation.statistics import Metric, Ratio, bootstrap, estimate

SHARE = Metric("share", "share")


def hits(wrong: int, pictures: int) -> Ratio:
    """Return the ratio for one question about each picture, the first ones answered wrongly."""
    return Ratio(SHARE, range(pictures), [float(k >= wrong) for k in range(pictures)])


def test_ratio() -> None:
    """A ratio is a sum over a sum, over the drawn pictures, each as often as it is drawn."""
    errors = Ratio(SHARE, [0, 0, 1], [1, 2, 5], [10, 10, 5])
    assert (errors.count, errors.pictures) == (3, 2)
    assert errors(np.array([0, 1])) == [8 / 25]
    assert errors(np.array([0, 0])) == [6 / 40]
    assert all(map(math.isnan, Ratio(SHARE, [0], [0], [0])(np.array([0]))))


def test_interval_of_a_share() -> None:
    """For 80 of 400, the interval agrees with the normal approximation to within half a point."""
    estimated = estimate(bootstrap([hits(320, 400)])[:, 0, 0])
    half = 1.96 * math.sqrt(0.2 * 0.8 / 400)
    assert estimated.value == pytest.approx(0.2)
    assert (estimated.low, estimated.high) == pytest.approx((0.2 - half, 0.2 + half), abs=0.005)


def test_draws_are_seeded_and_shared() -> None:
    """Draws are reproducible; two bundles that fail at the same pictures differ by exactly 0."""
    drawn = bootstrap([hits(50, 100), hits(50, 100), hits(52, 100)])
    assert np.array_equal(drawn, bootstrap([hits(50, 100), hits(50, 100), hits(52, 100)]))
    same, worse = estimate(drawn[:, 1, 0] - drawn[:, 0, 0]), estimate(drawn[:, 2, 0] - drawn[:, 0, 0])
    assert (same.low, same.value, same.high) == (0, 0, 0)
    assert worse.low < worse.value == pytest.approx(-0.02)
    assert worse.high <= 0


def test_the_interval_lies_around_the_value() -> None:
    """If the draws are biased, the interval is shifted so that it contains the value."""
    estimated = estimate(np.array([0.2, *np.linspace(0.3, 0.4, 101)]))
    assert (estimated.low, estimated.high) == pytest.approx((0.1525, 0.2475))


def test_without_draws_there_is_no_interval() -> None:
    """Without draws, or if no draw has a value, there is a value but no interval."""
    for values in (bootstrap([hits(1, 4)], resamples=0)[:, 0, 0], np.array([0.75, math.nan])):
        estimated = estimate(values)
        assert estimated.value == 0.75
        assert math.isnan(estimated.low)
        assert math.isnan(estimated.high)
