"""A report as one HTML page that holds everything it needs: it asks nothing of any server.

The server of the page is a file, so tables, bars and texts are in the HTML and are read without a script.  A script
adds what a reader does with them: choosing rows, sorting, and the two charts of lines, which uPlot draws.
"""

from __future__ import annotations

from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from f2edge.measuring.stages import EXCLUDED, MEANINGS, PARTS, STAGES
from f2edge.reporting import figures
from f2edge.reporting.picture import data_uri
from f2edge.reporting.rows import FILTERS, rows_of
from f2edge.reporting.whole_page import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from jinja2 import Environment

    from f2edge.reporting.results import Pair, Results
    from f2edge.reporting.rows import Row

_STYLES = ("uPlot.min.css", "page.css")
_SCRIPTS = ("uPlot.iife.min.js", "page.js")
_MOST_BESTS = 4
_BESTS: dict[str, tuple[str, str, Callable[..., tuple[float, int]]]] = {
    "p50": ("median answer", "fastest answer, median", min),
    "answers/s": ("answers a second", "most answers a second", max),
    "peak memory": ("peak memory", "least memory", min),
    "accuracy": ("accuracy", "most accurate", max),
    "energy per answer": ("energy of an answer", "least energy an answer", min),
    "warm start": ("first answer of a new process", "fastest start", min),
}
"""The columns whose best value is told at the top: headings for one row and for several, and what is best."""
_WIDEST_RATIO = 0.02
"""How far the scale of ratios reaches at least from 1 to each side."""


def render(results: Results, title: str | None = None, picture: Path | None = None) -> str:
    """Return the page.

    Args:
        results: what it shows.
        title: its heading; by default what was measured.
        picture: a picture file for it.

    Raises:
        ImageError: the picture is none, or is too large to open safely.
    """
    rows = rows_of(results)
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=title or (rows[0].title if len(rows) == 1 else figures.TITLE),
            summary=summary(rows),
            rows=rows,
            columns=[index for index, _ in enumerate(rows[0].cells) if _is_shown(rows, index)],
            bests=list(bests(rows))[:_MOST_BESTS],
            filters={name: values for name in FILTERS if len(values := _values(rows, name)) > 1},
            common=[_values(rows, name)[0] for name in FILTERS if len(rows) > 1 and len(_values(rows, name)) == 1],
            latencies=_latencies(rows),
            parts=PARTS,
            pairs=[(pair, _ratio_places(pair)) for pair in results.pairs],
            accuracy=list(_accuracy(results)),
            meanings=MEANINGS,
            stages=STAGES,
            excluded=EXCLUDED,
            picture=None if picture is None else (Markup(data_uri(picture)), picture.name),  # noqa: S704 - base64
            lines=_lines(rows),
        )
        + "\n"
    )


@cache
def _environment() -> Environment:
    made = environment("f2edge.reporting", _STYLES, _SCRIPTS)
    made.globals["figures"] = figures
    return made


def summary(rows: Sequence[Row]) -> str:
    """Say what the page has: how many measurements, bundles and devices, and of which days."""
    days = sorted({day for row in rows if (day := figures.day(row.measured)) != figures.NOTHING})
    bundles = {row.measured.bundle_sha256 for row in rows}
    devices = {row.tags()["device"] for row in rows}
    counts = [_count(len(rows), "measurement"), _count(len(bundles), "bundle"), _count(len(devices), "device")]
    dates = [" to ".join(dict.fromkeys((days[0], days[-1])))] if days else []
    return ", ".join([*counts, *dates])


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def bests(rows: Sequence[Row]) -> Iterator[tuple[str, str, str]]:
    """Yield a heading, a value, and the row that it is of; rows under bad conditions count if there are no others."""
    trusted = [row for row in rows if not row.doubtful] or list(rows)
    for column, (alone, among_others, choose) in _BESTS.items():
        known = [(cell, row) for row in trusted for cell in row.cells if cell.column == column]
        numbers = {(float(cell.value), row.index): (cell, row) for cell, row in known if isinstance(cell.value, float)}
        if numbers:
            cell, row = numbers[choose(numbers)]
            yield (among_others, cell.text, row.title) if len(rows) > 1 else (alone, cell.text, "")


def _is_shown(rows: Sequence[Row], index: int) -> bool:
    """Tell whether a column holds something, and is not one that has the same in all rows, which is told once."""
    texts = {row.cells[index].text for row in rows}
    told = len(rows) > 1 and len(texts) == 1 and rows[0].cells[index].column in FILTERS
    return texts != {figures.NOTHING} and not told


def _values(rows: Sequence[Row], name: str) -> list[str]:
    return sorted({row.tags()[name] for row in rows})


def _latencies(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return where the bars of each row end, in per cent of the slowest tail."""
    shown = [row for row in rows if row.is_latency]
    tails = {row.index: max(row.measured.percentile("total", rank) or 0.0 for rank in (50, 90, 99)) for row in shown}
    sums = {row.index: sum(ms for _, ms in row.parts()) for row in shown}
    scale, parts_scale = max(tails.values(), default=1.0) or 1.0, max(sums.values(), default=1.0) or 1.0
    return [
        {
            "row": row,
            "marks": {rank: _share(row.measured.percentile("total", rank), scale) for rank in (50, 90, 99)},
            "parts": [(part, ms, _share(ms, parts_scale)) for part, ms in row.parts()],
        }
        for row in shown
    ]


def _share(value: float | None, whole: float) -> float | None:
    return None if value is None else round(100 * value / whole, 2)


def _ratio_places(pair: Pair) -> list[dict[str, Any]]:
    """Return where each ratio and its interval are drawn, in per cent of a scale with 1 in its middle."""
    ratios = pair.compared.ratios
    ends = [end for ratio in ratios.values() for end in (ratio.ratio, ratio.low, ratio.high) if end is not None]
    reach = max([_WIDEST_RATIO, *(abs(end - 1) for end in ends)])

    def place(value: float | None) -> float | None:
        return None if value is None else round(50 + 48 * (value - 1) / reach, 2)

    return [
        {"stage": stage, "ratio": one, "at": place(one.ratio), "low": place(one.low), "high": place(one.high)}
        for stage, one in ratios.items()
    ]


def _accuracy(results: Results) -> Iterator[tuple[str, str, str, str, str, bool]]:
    """Yield the lines of the table: bundle, data, task, metric, value, and whether this very bundle was measured."""
    measured = {one.bundle_sha256 for one in results.measured}
    for one, data in results.evaluated:
        for task, metrics in one.metrics.items():
            for key, metric in metrics.items():
                texts = (
                    one.bundle,
                    f"{PurePath(data.path).name}, {_count(data.pictures, 'picture')}",
                    figures.task(task),
                )
                yield (*texts, figures.metric_title(key), figures.points(metric), one.bundle_sha256 in measured)


def _line_name(row: Row) -> str:
    scenario = row.measured.scenario
    return row.title if scenario == "single" else f"{row.title}, {scenario}"


def _lines(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the data of the two charts of lines."""
    curves = [(row, row.measured.curve) for row in rows if row.measured.curve]
    return {
        "quantiles": [{"row": row.index, "name": _line_name(row), "ms": ms} for row in rows if (ms := row.quantiles())],
        "curves": [
            {
                "row": row.index,
                "name": _line_name(row),
                "seconds": [point.seconds for point in curve],
                "ms": [point.p50_ms for point in curve],
                "clock": [point.clock_mhz for point in curve],
                "heat": [point.hottest_c for point in curve],
            }
            for row, curve in curves
        ],
    }
