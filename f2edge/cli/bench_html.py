"""Write a latency report as one self-contained HTML page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from f2edge.bench import MEANINGS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from f2edge.bench import LatencyReport

_COLUMNS = ("p50", "p90", "p99", "mean", "stdev")
_ONCE = ("load", "first_answer")  # measured once, before the runs; they would dwarf the bars
_ROW, _LEFT, _WIDTH = 26, 150, 480
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; }}
th, td {{ padding: .2rem .8rem; text-align: left; border-bottom: 1px solid #ddd; }}
.numbers td + td, .numbers th + th {{ text-align: right; font-variant-numeric: tabular-nums; }}
svg {{ max-width: 100%; font: 13px system-ui, sans-serif; }}
rect {{ fill: #0a7cff; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{summary}</p>
<h2>Median of each stage, ms</h2>
{chart}
<h2>All numbers, ms</h2>
<table class="numbers">
{stages}
</table>
<dl>
{meanings}
</dl>
<h2>Measured on</h2>
<table>
{facts}
</table>
<p>{excluded}</p>
</body>
</html>
"""


def render(report: LatencyReport, name: str) -> str:
    """Return the page: a table, bars of the medians, the machine; every value is escaped."""
    height, width = report.image_size
    summary = (
        f"{report.task}: {report.tokens} tokens in {report.steps} decoder steps with {report.num_beams} beams, "
        f"{height}x{width} pixels; {report.runs} runs after {report.warmup} to warm up."
    )
    return _PAGE.format(
        title=escape(f"{name}: latency"),
        summary=escape(summary),
        chart=_chart(report),
        stages=_stages(report),
        meanings="\n".join(f"<dt>{escape(stage)}</dt><dd>{escape(told)}</dd>" for stage, told in MEANINGS.items()),
        facts="\n".join(_row("td", fact) for fact in _facts(report)),
        excluded=escape(report.excluded),
    )


def _stages(report: LatencyReport) -> str:
    rows = [_row("th", ("stage", *_COLUMNS))]
    for stage, values in report.statistics().items():
        rows.append(_row("td", (stage, *(f"{values[column]:.2f}" for column in _COLUMNS))))
    return "\n".join(rows)


def _facts(report: LatencyReport) -> list[tuple[str, str]]:
    memory, threads = report.peak_rss_mib, report.threads
    facts = {**report.device, **report.versions, "bundle": report.bundle_sha256}
    facts["threads"] = "unknown" if threads is None else threads
    facts["peak memory"] = "unknown" if memory is None else f"{memory:.0f} MiB"
    return [(name, str(value)) for name, value in facts.items()]


def _row(cell: str, values: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{cell}>{escape(value)}</{cell}>" for value in values) + "</tr>"


def _chart(report: LatencyReport) -> str:
    medians = {stage: values["p50"] for stage, values in report.statistics().items() if stage not in _ONCE}
    longest = max(medians.values()) or 1.0
    bars = [_bar(row, stage, ms, ms / longest) for row, (stage, ms) in enumerate(medians.items())]
    size = f'viewBox="0 0 {_LEFT + _WIDTH + 90} {_ROW * len(bars)}" width="{_LEFT + _WIDTH + 90}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}>\n' + "\n".join(bars) + "\n</svg>"


def _bar(row: int, stage: str, ms: float, share: float) -> str:
    y, width = row * _ROW, share * _WIDTH
    return (
        f'<text x="{_LEFT - 8}" y="{y + 17}" text-anchor="end">{escape(stage)}</text>'
        f'<rect x="{_LEFT}" y="{y + 4}" width="{width:.1f}" height="{_ROW - 8}" rx="3"/>'
        f'<text x="{_LEFT + width + 8:.1f}" y="{y + 17}">{ms:.2f}</text>'
    )
