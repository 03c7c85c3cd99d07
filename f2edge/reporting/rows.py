"""The rows of a report: what it shows of each measurement, as texts and as numbers to sort and to draw by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from f2edge.measuring.stages import PARTS
from f2edge.reporting import figures

if TYPE_CHECKING:
    from collections.abc import Iterable

    from f2edge.reporting.records import Measured
    from f2edge.reporting.results import Results

_CURVE_POINTS = 41
_FEWEST_FOR_A_CURVE = 10
SHARED = "offline"
"""The scenario whose times are shares of batches: they are no latencies, and are left out where those are shown."""


@dataclass(frozen=True)
class Cell:
    """One cell: its column, its text, and the number that it is sorted by; None sorts last."""

    column: str
    text: str
    value: float | str | None = None

    @property
    def is_number(self) -> bool:
        """Whether the column holds numbers, or texts."""
        return not isinstance(self.value, str)


@dataclass(frozen=True)
class Row:
    """One measurement in a report."""

    index: int
    measured: Measured
    cells: tuple[Cell, ...]

    @property
    def title(self) -> str:
        """What tells it from other rows: bundle and device."""
        return f"{figures.name(self.measured)} on {figures.device(self.measured)}"

    @property
    def doubtful(self) -> bool:
        """Whether it was measured under bad conditions."""
        return bool(self.measured.warnings)

    @property
    def is_latency(self) -> bool:
        """Whether its times are latencies."""
        return self.measured.scenario != SHARED

    def tags(self) -> dict[str, str]:
        """Return the values by which a reader chooses rows, by the names of :data:`FILTERS`."""
        one = self.measured
        values = (figures.device(one), figures.precision(one), one.scenario, figures.asked(one))
        return dict(zip(FILTERS, values, strict=True))

    def about(self, filters: Iterable[str]) -> str:
        """Return the values of some filters, for a label."""
        tags = self.tags()
        return "; ".join(tags[name] for name in filters)

    def parts(self) -> list[tuple[str, float]]:
        """Return the stages that follow each other, with their medians in milliseconds."""
        return [(part, median) for part in PARTS if (median := self.measured.percentile(part, 50)) is not None]

    def quantiles(self) -> list[float]:
        """Return the totals of 41 percentiles from 0 to 100 in milliseconds; none of a few runs."""
        totals = self.measured.samples_ms["total"]
        if len(totals) < _FEWEST_FOR_A_CURVE or not self.is_latency:
            return []
        return [round(float(value), 3) for value in np.percentile(totals, np.linspace(0, 100, _CURVE_POINTS))]


FILTERS = ("device", "precision", "scenario", "question")


def rows_of(results: Results) -> list[Row]:
    """Return the rows: devices together, the fastest first."""
    ordered = sorted(results.measured, key=lambda one: (figures.device(one), one.percentile("total", 50) or 0.0))
    return [Row(index, one, tuple(_cells(one, results))) for index, one in enumerate(ordered)]


def _cells(one: Measured, results: Results) -> list[Cell]:
    latency = [one.percentile("total", rank) if one.scenario != SHARED else None for rank in (50, 90, 99)]
    starts = (one.starts.cold.process_ms, one.starts.warm.process_ms) if one.starts else (None, None)
    texts = {
        "bundle": figures.name(one),
        "device": figures.device(one),
        "precision": figures.precision(one),
        "scenario": figures.scenario(one),
        "question": figures.asked(one),
    }
    return [
        *(Cell(column, text, text) for column, text in texts.items()),
        *(Cell(f"p{rank}", figures.milliseconds(ms), ms) for rank, ms in zip((50, 90, 99), latency, strict=True)),
        Cell("answers/s", figures.number(one.answers_per_s), one.answers_per_s),
        Cell("peak memory", figures.mebibytes(one.peak_rss_mib), one.peak_rss_mib),
        Cell("energy per answer", figures.joules(one), one.energy.joules_per_answer if one.energy else None),
        Cell("load", figures.milliseconds(one.percentile("load", 50)), one.percentile("load", 50)),
        *(
            Cell(column, figures.milliseconds(ms), ms)
            for column, ms in zip(("cold start", "warm start"), starts, strict=True)
        ),
        _accuracy(one, results),
        Cell("date", figures.day(one), figures.day(one)),
    ]


def _accuracy(one: Measured, results: Results) -> Cell:
    """Return the metric that stands for the very bundle that was measured."""
    for evaluated, _ in results.accuracy(one):
        if chosen := figures.headline(evaluated):
            return Cell("accuracy", f"{chosen[1]:.1f} ({chosen[0]})", chosen[1])
    return Cell("accuracy", figures.NOTHING)
