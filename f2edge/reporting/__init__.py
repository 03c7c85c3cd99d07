"""Reports of measurements that people pass around: a page, a table, and the format of Bencher."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from f2edge.errors import MissingExtraError
from f2edge.reporting.results import Results

if TYPE_CHECKING:
    from f2edge.measuring.comparison import Comparison
    from f2edge.measuring.report import LatencyReport


def check_packages() -> None:
    """Name the extra to install before any work is done.

    Raises:
        MissingExtraError: the package that fills the page is not installed.
    """
    if find_spec("jinja2") is None:
        raise MissingExtraError("jinja2", "report")


def page_of(measured: LatencyReport | Comparison) -> str:
    """Return the page about one measurement."""
    from f2edge.reporting.page import render  # noqa: PLC0415 - its packages are an extra

    return render(Results.of([("the measurement", measured.to_json())]))
