"""Draw the curves of the study: a line for each training, detectors on the left, segmenters on the right.

Usage: ``python benchmarks/heads/figure.py benchmarks/results/heads.json docs/heads.png``
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Sequence

PANELS = (("detector", "map", "Detector: mAP"), ("segmenter", "miou", "Segmenter: mean IoU, %"))
LOOKS: dict[tuple[str, bool], tuple[str, str, str]] = {
    ("pretrained", False): ("pretrained, trained on", "#0a7d6c", "-"),
    ("pretrained", True): ("pretrained, frozen", "#0a7d6c", ":"),
    ("scratch", False): ("from scratch", "#b4532a", "-"),
    ("scratch", True): ("random, frozen", "#b4532a", ":"),
}


def draw_curves(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw all trainings at the highest learning rate of the tower."""
    highest = max(run["tower_rate"] for run in runs)
    figure, axes = plt.subplots(1, len(PANELS), figsize=(10, 4), layout="constrained")
    for axis, (task, metric, title) in zip(axes, PANELS, strict=True):
        for run in runs:
            if run["task"] == task and (run["frozen"] or run["tower_rate"] == highest):
                _line(axis, run, metric)
        axis.set(title=title, xlabel="steps of 16 pictures", ylim=(0, 100), xlim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.3)
    _legend(figure, axes[0])
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _line(axis: Any, run: dict[str, Any], metric: str) -> None:
    _, colour, style = LOOKS[run["start"], run["frozen"]]
    steps, values = ([point[name] for point in run["curve"]] for name in ("step", metric))
    axis.plot([0, *steps], [0, *values], style, color=colour, linewidth=1.3, alpha=0.8)


def _legend(figure: Any, axis: Any) -> None:
    """Name the lines below both panels, where they cross none."""
    lines = [axis.plot([], [], style, color=colour, label=label)[0] for label, colour, style in LOOKS.values()]
    figure.legend(handles=lines, frameon=False, loc="outside lower center", ncols=len(lines), fontsize=9)


if __name__ == "__main__":
    draw_curves(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["runs"], Path(sys.argv[2]))
