"""A report as Markdown, for a repository or an issue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from f2edge.lines import one_line
from f2edge.reporting import figures
from f2edge.reporting.rows import rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from f2edge.reporting.results import Results
    from f2edge.reporting.rows import Row

_SPECIAL = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_[]<>|#"})
_DOUBTFUL = " \N{WARNING SIGN}"


def markdown(results: Results, title: str) -> str:
    """Return the report: a table, comparisons, metrics, and how to repeat each row."""
    rows = rows_of(results)
    parts = [[f"# {_text(title)}"], _table(rows), _pairs(results), _accuracy(results), _doubts(rows), _commands(rows)]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _text(text: str) -> str:
    """Return a text on one line, without Markdown of its own."""
    return one_line(text).translate(_SPECIAL)


def _table(rows: Sequence[Row]) -> list[str]:
    """Return a table with the columns that hold something."""
    columns = [index for index, _ in enumerate(rows[0].cells) if any(_filled(row, index) for row in rows)]
    heads = [rows[0].cells[index] for index in columns]
    lines = [_line([head.column for head in heads])]
    lines.append(_line(["--:" if head.is_number else "---" for head in heads]))
    for row in rows:
        cells = [_text(row.cells[index].text) for index in columns]
        lines.append(_line([cells[0] + _DOUBTFUL * row.doubtful, *cells[1:]]))
    return lines


def _filled(row: Row, index: int) -> bool:
    return row.cells[index].text != figures.NOTHING


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _pairs(results: Results) -> Iterator[str] | list[str]:
    return [f"- {_text(figures.verdict(pair))}" for pair in results.pairs]


def _accuracy(results: Results) -> list[str]:
    """Return a line for each metric of each bundle."""
    lines = [
        _line([_text(one.bundle), _text(figures.task(task)), figures.metric_title(key), figures.points(metric)])
        for one, _ in results.evaluated
        for task, metrics in one.metrics.items()
        for key, metric in metrics.items()
    ]
    head = [_line(["bundle", "task", "metric", "points, 95 % interval"]), _line(["---", "---", "---", "--:"])]
    return ["## Accuracy", "", *head, *lines] if lines else []


def _doubts(rows: Sequence[Row]) -> list[str]:
    told = [f"- {_text(row.title)}: {_text('; '.join(row.measured.warnings))}." for row in rows if row.doubtful]
    return [f"Rows with{_DOUBTFUL} were measured under bad conditions:", "", *told] if told else []


def _commands(rows: Sequence[Row]) -> list[str]:
    """Return each command once, as code; a line of a code block cannot end it."""
    commands = dict.fromkeys(one_line(row.measured.command) for row in rows if row.measured.command)
    return ["To repeat:", "", "```text", *commands, "```"] if commands else []
