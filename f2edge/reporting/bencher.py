"""A report in the Bencher Metric Format, which the service Bencher takes to watch for slowdowns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from f2edge.reporting import figures
from f2edge.reporting.rows import SHARED

if TYPE_CHECKING:
    from f2edge.reporting.records import Measured
    from f2edge.reporting.results import Results

_NANOSECONDS = 1e6
"""In a millisecond: Bencher's own measures are ``latency`` in nanoseconds and ``throughput`` in operations a second."""
_BYTES = 2**20


def bencher(results: Results) -> dict[str, dict[str, dict[str, float]]]:
    """Return the measures of each benchmark.

    A benchmark is named after bundle, device, scenario and question.  The lower and the upper value of a latency are
    the fastest run and the 99th percentile, or the 90th if there are too few runs for that.  Of several measurements
    of one benchmark the last file counts.
    """
    return {benchmark(one): _measures(one) for one in results.measured}


def benchmark(one: Measured) -> str:
    """Return the name of a benchmark, which stays the same from one date to the next."""
    return " / ".join((figures.name(one), figures.device(one), figures.scenario(one), figures.asked(one)))


def _measures(one: Measured) -> dict[str, dict[str, float]]:
    single = {
        "throughput": one.answers_per_s,
        "peak-memory": _scaled(one.peak_rss_mib, _BYTES),
        "energy-per-answer": one.energy.joules_per_answer if one.energy else None,
        "load": _scaled(one.percentile("load", 50), _NANOSECONDS),
        "cold-start": _scaled(one.starts.cold.process_ms if one.starts else None, _NANOSECONDS),
        "warm-start": _scaled(one.starts.warm.process_ms if one.starts else None, _NANOSECONDS),
    }
    measures = {name: {"value": value} for name, value in single.items() if value is not None}
    return measures if one.scenario == SHARED else {"latency": _latency(one), **measures}


def _latency(one: Measured) -> dict[str, float]:
    tail = one.percentile("total", 99) or one.percentile("total", 90)
    values = {"value": one.percentile("total", 50), "lower_value": min(one.samples_ms["total"]), "upper_value": tail}
    return {name: value * _NANOSECONDS for name, value in values.items() if value is not None}


def _scaled(value: float | None, by: float) -> float | None:
    return None if value is None else value * by
