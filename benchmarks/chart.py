"""One chart of a run: whole answers, and the stages of them."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from contenders import ENTRIES

mpl.use("Agg")
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

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
    """Write the chart to ``path``: bars are medians, whiskers reach from the least to the largest."""
    figure, axes = plt.subplots(1, len(_MEASURES), figsize=(3.4 * len(_MEASURES), 4.2), sharey=True, layout="constrained")
    names = [name for name, outcome in outcomes.items() if _samples(outcome, "step")]
    for axis, (measure, label) in zip(axes, _MEASURES.items(), strict=True):
        for place, name in enumerate(reversed(names)):
            _bar(axis, place, _samples(outcomes[name], measure), OURS if name.startswith("f2edge") else OTHERS)
        axis.set_title(label, fontsize=10)
        axis.set_xlabel("ms")
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
    axis.annotate(f"{middle:,.0f}" if middle >= 100 else f"{middle:.1f}", (middle, place), fontsize=7, va="bottom")


def _samples(outcome: Outcome, measure: str) -> list[float]:
    """All of one measure; "step" is that of 3 beams at the first position."""
    names = [name for name in (outcome.rounds or [{}])[0] if name.startswith("step_3_")]
    name = names[0] if measure == "step" and names else measure
    return [value for samples in outcome.rounds for value in samples.get(name, ())]
