"""Reports of measurements that people pass around: a page, a table, and the format of Bencher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from f2edge.reporting.results import Results

if TYPE_CHECKING:
    from f2edge.measuring.comparison import Comparison
    from f2edge.measuring.report import LatencyReport


def page_of(measured: LatencyReport | Comparison) -> str:
    """Return the page about one measurement."""
    from f2edge.reporting.page import render  # noqa: PLC0415 - few processes write a page

    return render(Results.of([("the measurement", measured.to_json())]))
