"""The arithmetic of the benchmarks: floors, targets, fitted lines, steps, and cached artefacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from acceptance import Measured, checks
from artefacts import Cache
from curves import curve
from measuring import around, repeated
from rounds import Outcome
from work import encoder_flops, step_bytes, vision_flops
from workload import WORKLOADS

if TYPE_CHECKING:
    from pathlib import Path

BASE = WORKLOADS["base"]


def test_floors_at_base_size() -> None:
    """The floors equal numbers counted by hand: products with weights, and the bytes that a step reads."""
    geometry = BASE.geometry
    assert vision_flops(geometry) == pytest.approx(367e9, rel=0.01)
    assert encoder_flops(geometry, 590) == pytest.approx(50.1e9, rel=0.01)
    weights = step_bytes(geometry, 0, 0, 1)
    assert weights == pytest.approx(89e6, rel=0.01)
    assert step_bytes(geometry, 0, 256, 3) - weights == 3 * 256 * 2 * 6 * 768 * 2


def test_targets_are_ratios_of_medians_with_the_spread_of_rounds() -> None:
    """A target is met or missed, in both directions; without samples it is neither."""
    ours = Outcome([{"caption": [10.0], "vision": [500.0]}, {"caption": [20.0], "vision": [500.0]}])
    theirs = Outcome([{"caption": [100.0]}, {"caption": [120.0]}])
    limits = Outcome([{"gemm_int8_gflops": [800.0]}] * 2)
    outcomes = {"f2edge-int8": ours, "torch-fp32": theirs, "limits": limits, "notebook": Outcome()}
    named = {check.what: check for check in checks(outcomes, BASE)}
    caption = named["caption: times faster than torch-fp32"]
    assert (caption.value, caption.low, caption.high, caption.met) == (pytest.approx(110 / 15), 6.0, 10.0, True)
    assert named["caption: times faster than notebook"].met is None
    assert named["vision: time over its INT8 floor"].value == pytest.approx(500 / (vision_flops(BASE.geometry) / 800e6))
    assert named["vision: time over its INT8 floor"].met is True
    assert named["peak memory of run, MB"].met is None


def test_bandwidth_is_the_better_of_two() -> None:
    """The better of both measured bandwidths counts, in bytes per millisecond."""
    outcome = Outcome([{"read_openvino_gbs": [30.0], "read_numpy_gbs": [20.0, 40.0, 10.0]}])
    assert Measured({"limits": outcome}).bandwidth() == 30e6


def test_steps_around_a_position() -> None:
    """Nine steps are taken with the position in the middle; the step at p ends when p + 1 are done."""
    done = [0.001 * index**2 for index in range(40)]
    taken = around(done, 0, 16)
    assert len(taken) == 9
    assert taken[4] == pytest.approx(16**2 - 15**2)
    assert around(done[11:], 11, 16) == taken


def test_a_line_and_the_departures_from_it() -> None:
    """A straight line is fitted exactly, and a point above the line stands out."""
    straight = curve("tokens", {x: [5.0 + 2 * x] for x in (1, 2, 4, 8)})
    assert (straight.intercept, straight.slope) == (pytest.approx(5), pytest.approx(2))
    assert max(map(abs, straight.departures)) < 1e-9
    bent = curve("tokens", {1: [7.0], 2: [9.0], 4: [13.0, 13.0, 900.0], 8: [42.0]})
    assert max(bent.departures) == bent.departures[3] > 0.05


def test_an_artefact_is_made_once_and_replaces_older_ones(tmp_path: Path) -> None:
    """Other artefacts whose names begin alike are kept."""
    older, other = tmp_path / "tiny.photographs.000000000000", tmp_path / "tiny.photographs-384.000000000000"
    older.mkdir()
    other.mkdir()
    cache = Cache(WORKLOADS["tiny"], tmp_path)
    made = cache.get("photographs")
    stamp = made.stat().st_mtime_ns
    assert len(list(made.glob("*.jpg"))) == 2
    assert cache.get("photographs").stat().st_mtime_ns == stamp
    assert other.exists()
    assert not older.exists()


def test_repeated_calls() -> None:
    """The function is called at least once, and again until the given time has passed."""
    calls = iter(range(10**9))
    assert repeated(lambda: next(calls), 0) == [0]
    many = repeated(lambda: next(calls), 0.01)
    assert many == list(range(1, 1 + len(many)))
    assert len(many) > 1
