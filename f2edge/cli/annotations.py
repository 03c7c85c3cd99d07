"""Print what a run of annotations has made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from f2edge.cli.output import NOTHING, print_json, print_note, print_table

if TYPE_CHECKING:
    from f2edge.annotate.statistics import Row, Statistics

_NAMED = 3
"""Pictures that cannot be read and are named on stderr."""


def print_statistics(statistics: Statistics, *, as_json: bool) -> None:
    """Print the statistics of a run as a table or as JSON, and pictures that cannot be read on stderr."""
    if statistics.unreadable:
        names = ", ".join(f"{image} ({reason})" for image, reason in statistics.named[:_NAMED])
        rest = statistics.unreadable - _NAMED
        print_note(
            f"{statistics.unreadable} of {statistics.pictures} pictures cannot be read: {names}"
            + (f" and {rest} more" if rest > 0 else "")
        )
    if as_json:
        print_json(statistics.to_json())
        return
    columns = ("kind", "task", "of", "pictures", "kept", "a picture", "tokens each", "unseen", "dropped")
    print_table(columns, [_cells(row) for row in statistics.rows])
    click.echo(f"\n{statistics.pictures} pictures; objects and relations of texts counted by: {statistics.complexity}")


def _cells(row: Row) -> tuple[str, ...]:
    dropped = ", ".join(f"{number} {reason}" for reason, number in row.dropped.most_common())
    counts = (str(row.images), str(row.annotations), _mean(row.mean_annotations), _mean(row.mean_tokens))
    unseen = str(row.unseen) if row.kind == "phrase" else NOTHING
    return (row.kind, row.task, row.source or NOTHING, *counts, unseen, dropped or NOTHING)


def _mean(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"
