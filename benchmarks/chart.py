"""Charts: the contenders' times side by side, and the curves of f2edge's times."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from contenders import ENTRIES

mpl.use("Agg")
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from curves import Curve
    from rounds import Outcome

OURS, OTHERS = "#0a7d6c", "#9aa5b1"
_MEASURES = {
    "caption": "caption",
    "od": "OD-like answer",
    "vision": "vision tower",
    "encoder": "encoder",
    "step": "decoder step, 3 beams",
}


def draw(outcomes: Mapping[str, Outcome], path: Path, title: str) -> None:
    """Write a bar chart to ``path``: bars are medians in ms, whiskers reach from the least to the largest value."""
    figure, axes = plt.subplots(
        1, len(_MEASURES), figsize=(3.4 * len(_MEASURES), 4.2), sharey=True, layout="constrained"
    )
    names = [name for name, outcome in outcomes.items() if _samples(outcome, "step")]
    for axis, (measure, label) in zip(axes, _MEASURES.items(), strict=True):
        for place, name in enumerate(reversed(names)):
            _bar(axis, place, _samples(outcomes[name], measure), OURS if name.startswith("f2edge") else OTHERS)
        axis.set_title(label, fontsize=10)
        axis.set_xlabel("ms")
        axis.margins(x=0.2)  # room for the numbers
        axis.set_yticks(range(len(names)), [ENTRIES[name].label for name in reversed(names)])
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _bar(axis: Any, place: int, samples: list[float], colour: str) -> None:
    if not samples:
        axis.text(0, place, " not measured", va="center", fontsize=7, color=OTHERS)
        return
    middle = median(samples)
    spread = [[middle - min(samples)], [max(samples) - middle]]
    axis.barh(place, middle, xerr=spread, color=colour, error_kw={"elinewidth": 0.8, "capsize": 2})
    text = f" {middle:,.0f}" if middle >= 100 else f" {middle:.1f}"
    axis.annotate(text, (max(samples), place), fontsize=7, va="center")  # beyond the whisker


def _samples(outcome: Outcome, measure: str) -> list[float]:
    """Return all samples of a measure; "step" stands for the step of 3 beams at the first position."""
    names = [name for name in (outcome.rounds or [{}])[0] if name.startswith("step_3_")]
    name = names[0] if measure == "step" and names else measure
    return [value for samples in outcome.rounds for value in samples.get(name, ())]


def draw_curves(curves: Sequence[Curve], units: Mapping[str, str], path: Path, title: str) -> None:
    """Write a chart to ``path``: points are medians in ms, with the straight line fitted to them."""
    columns = 4
    rows = -(-len(curves) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.4 * columns, 3 * rows), layout="constrained", squeeze=False)
    for axis in axes.flat[len(curves) :]:
        axis.set_visible(False)
    for axis, curve in zip(axes.flat, curves, strict=False):
        ends = [0, max(curve.amounts)]
        axis.plot(ends, [curve.intercept + curve.slope * x for x in ends], color=OTHERS, linewidth=1)
        axis.plot(curve.amounts, curve.milliseconds, "o", color=OURS, markersize=4)
        axis.set_title(curve.axis, fontsize=10)
        axis.set_xlabel(units[curve.axis], fontsize=8)
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    for row in axes:
        row[0].set_ylabel("ms")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=130)
    plt.close(figure)
