"""Percentiles come from enough runs only, and a comparison finds what is there and little else."""

from __future__ import annotations

import numpy as np
import pytest

from f2edge.measuring.curve import curve
from f2edge.measuring.scenarios import Taken
from f2edge.measuring.statistics import changing_medians, statistics, typical_ratio
from f2edge.measuring.watch import Reading


@pytest.mark.parametrize(
    ("runs", "missing"), [(1, {"p90", "p99"}), (9, {"p90", "p99"}), (10, {"p99"}), (99, {"p99"}), (100, set[str]())]
)
def test_percentiles_take_runs(runs: int, missing: set[str]) -> None:
    """A percentile that too few runs are above is None, not their slowest one."""
    values = statistics(range(1, runs + 1))
    assert {name for name, value in values.items() if value is None} == missing
    assert values["p50"] == (runs + 1) / 2


def rounds(generator: np.random.Generator, slower: float) -> tuple[list[list[float]], list[list[float]]]:
    """Return 30 rounds of both bundles on a machine that becomes slower, with noise of 3 % and stalls now and then."""
    drift = np.exp(np.cumsum(generator.normal(0, 0.005, 120)))
    noise = np.exp(generator.normal(0, 0.03, 120)) + (generator.random(120) < 0.05) * generator.exponential(0.3, 120)
    times = (drift * noise).reshape(30, 4)
    return (times[:, [0, 3]] * slower).tolist(), times[:, [1, 2]].tolist()


def test_a_slowdown_is_found_and_none_is_not() -> None:
    """Of 40 comparisons of a bundle that is 5 % slower at least 38 find it; of a bundle with itself at most 2 do."""
    generator = np.random.default_rng(0)
    same = [typical_ratio(*rounds(generator, 1.0)) for _ in range(40)]
    slower = [typical_ratio(*rounds(generator, 1.05)) for _ in range(40)]
    assert sum(bool(ratio.differs) for ratio in same) <= 2
    assert sum(bool(ratio.differs) and ratio.ratio > 1 for ratio in slower) >= 38


def test_two_loads_of_one_bundle_do_not_differ() -> None:
    """A ratio that is off by less than two loads of one bundle are is no difference, however sure it is."""
    first, second = [[1.008, 1.008]] * 30, [[1.0, 1.0]] * 30
    assert typical_ratio(first, second).low == typical_ratio(first, second).high == 1.008
    assert not typical_ratio(first, second).differs
    assert not typical_ratio(second, first).differs
    assert typical_ratio([[1.011, 1.011]] * 30, second).differs


def test_few_rounds_have_no_interval() -> None:
    """Nine rounds give a ratio without an interval, ten give both."""
    few, enough = ([[1.0, 1.1]] * 9, [[1.0, 1.1]] * 10)
    assert typical_ratio(few, few).to_json() == {"ratio": 1.0, "low": None, "high": None, "differs": None}
    assert typical_ratio(enough, enough).to_json() == {"ratio": 1.0, "low": 1.0, "high": 1.0, "differs": False}


def test_the_curve_of_a_long_measurement() -> None:
    """Parts of equal time have the answers that ended in them, and what was read of the machine meanwhile."""
    taken = Taken()
    taken.ended = [float(second) for second in range(1, 121)]
    taken.stages["total"] = [100.0] * 60 + [200.0] * 60
    readings = [
        Reading(1.5, clock_mhz=2000.0),
        Reading(1.9, clock_mhz=1000.0, watts=4.0),
        Reading(119.0, hottest_c=80.0),
    ]
    points = curve(taken, readings)
    assert len(points) == 60
    assert sum(point.answers for point in points) == 120
    assert (points[0].p50_ms, points[-1].p50_ms) == (100.0, 200.0)
    assert (points[0].clock_mhz, points[0].watts, points[0].hottest_c) == (1500.0, 4.0, None)
    assert points[-1].hottest_c == 80.0


def test_a_machine_that_changes_its_speed_is_told_from_noise() -> None:
    """Noise alone is taken for a change in at most 5 of 100 measurements; a slower second half is found in all."""
    generator = np.random.default_rng(0)
    steady = [np.exp(generator.normal(4, 0.05, 240)) for _ in range(100)]
    assert sum(changing_medians(list(times)) is not None for times in steady) <= 5
    halves = np.repeat([1.0, 1.1], 120)
    assert all(changing_medians(list(times * halves)) is not None for times in steady)


def test_what_counts_as_a_change_of_speed() -> None:
    """The ends of what the medians were; nothing with too few runs to tell, or if they are within 3 %."""
    assert changing_medians([50.0] * 100 + [60.0] * 100) == (50, 60)
    assert changing_medians([50.0] * 20 + [100.0] * 19) is None
    assert changing_medians([50.0] * 100 + [51.0] * 100) is None
