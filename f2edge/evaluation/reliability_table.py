"""The confidences of a bundle in Markdown: how far they can be trusted, and the reliability diagram."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from f2edge.evaluation.reliability import BINS, PRECISIONS
from f2edge.evaluation.tables import table
from f2edge.lines import one_line
from f2edge.tasks.table import short_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from f2edge.evaluation.reliability import Bin, Reliability

_NOTHING = "\N{EN DASH}"
_BLOCK = "\N{FULL BLOCK}"
_WIDTH = 20
"""Characters of a bar that stands for all."""


def confidence_markdown(name: str, measured: Sequence[Reliability]) -> str:
    """Return both tables of one bundle; an empty text if no object can be marked.

    Args:
        name: the name of the bundle.
        measured: its tasks; the diagram is of the last entry, which is all tasks together if there are several.
    """
    if not measured:
        return ""
    kind = "calibrated" if measured[-1].calibrated else "not calibrated: raw scores where a task has no calibration"
    title = one_line(f"Confidences of {name}, {kind}.")
    wanted = [f"for {100 * precision:g} % right" for precision in PRECISIONS]
    columns = ["task", "objects", "right", "ECE", "LaECE", "AUROC", *wanted]
    diagram = table(["confidence", "objects", "mean", "right", "diagram"], map(_bar, measured[-1].bins))
    explained = "The last columns: the least confidence to keep, and the share of right objects that is kept."
    return f"{title} {explained}\n\n{table(columns, map(_row, measured))}\n\n{diagram}"


def _row(one: Reliability) -> list[str]:
    task = "all" if one.task is None else short_name(one.task)
    thresholds = [
        _NOTHING if math.isnan(limit.confidence) else f"{limit.confidence:.3f} ({100 * limit.kept:.1f} %)"
        for limit in one.thresholds
    ]
    numbers = [_number(number) for number in (one.ece, one.laece, one.auroc)]
    return [task, str(one.objects), f"{100 * one.right:.1f} %", *numbers, *thresholds]


def _bar(one: Bin) -> list[str]:
    ends = f"{one.low:.1f} to {one.low + 1 / BINS:.1f}"
    bar = _BLOCK * round(_WIDTH * one.right) if one.objects else ""
    return [ends, str(one.objects), _number(one.confidence), _number(one.right), bar.ljust(_WIDTH)]


def _number(value: float) -> str:
    return _NOTHING if math.isnan(value) else f"{value:.3f}"
