"""Ratios over pictures, and the bootstrap's intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from f2edge.evaluation.statistics import Metric, Ratio, bootstrap, estimate

SHARE = Metric("share", "share")


def hits(wrong: int, pictures: int) -> Ratio:
    """One question about each picture, the first ones answered wrongly."""
    return Ratio(SHARE, range(pictures), [float(k >= wrong) for k in range(pictures)])


def test_ratio() -> None:
    """A sum over a sum, over the pictures that are picked, each as often as it is."""
    errors = Ratio(SHARE, [0, 0, 1], [1, 2, 5], [10, 10, 5])
    assert (errors.count, errors.pictures) == (3, 2)
    assert errors(np.array([0, 1])) == [8 / 25]
    assert errors(np.array([0, 0])) == [6 / 40]
    assert all(map(math.isnan, Ratio(SHARE, [0], [0], [0])(np.array([0]))))


def test_interval_of_a_share() -> None:
    """80 of 400: within half a point of the normal approximation, 0.2 +- 1.96 sqrt(0.2 0.8 / 400)."""
    found = estimate(bootstrap([hits(320, 400)])[:, 0, 0])
    half = 1.96 * math.sqrt(0.2 * 0.8 / 400)
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.2 - half, 0.2 + half), abs=0.005)


def test_draws_are_seeded_and_shared() -> None:
    """The same twice, and a bundle that fails at the same pictures differs from the other by exactly nothing."""
    drawn = bootstrap([hits(50, 100), hits(50, 100), hits(52, 100)])
    assert np.array_equal(drawn, bootstrap([hits(50, 100), hits(50, 100), hits(52, 100)]))
    same, worse = estimate(drawn[:, 1, 0] - drawn[:, 0, 0]), estimate(drawn[:, 2, 0] - drawn[:, 0, 0])
    assert (same.low, same.value, same.high) == (0, 0, 0)
    assert worse.low < worse.value == pytest.approx(-0.02)
    assert worse.high <= 0


def test_the_interval_lies_around_the_value() -> None:
    """The bias of the draws moves the interval, not the value out of it."""
    found = estimate(np.array([0.2, *np.linspace(0.3, 0.4, 101)]))
    assert (found.low, found.high) == pytest.approx((0.1525, 0.2475))


def test_without_draws_there_is_no_interval() -> None:
    """A value alone; none of all draws with a value gives none either."""
    for values in (bootstrap([hits(1, 4)], resamples=0)[:, 0, 0], np.array([0.75, math.nan])):
        found = estimate(values)
        assert found.value == 0.75
        assert math.isnan(found.low)
        assert math.isnan(found.high)
