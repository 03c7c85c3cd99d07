"""Tables in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; the columns after the first two are aligned to the right."""
    lines = [[_cell(value) for value in line] for line in (columns, *rows)]
    widths = [max(3, *(len(line[index]) for line in lines)) for index in range(len(columns))]
    padded = [[value.ljust(width) for value, width in zip(line, widths, strict=True)] for line in lines]
    rule = ["-" * width if index < 2 else "-" * (width - 1) + ":" for index, width in enumerate(widths)]  # noqa: PLR2004
    return "\n".join(f"| {' | '.join(line)} |" for line in (padded[0], rule, *padded[1:]))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
