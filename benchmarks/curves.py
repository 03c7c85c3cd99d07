"""Measure how f2edge's time grows with tokens, beams, prompts per image, images, image size and threads.

    make bench-curves
    python benchmarks/curves.py --precision fp16 --rounds 2
    python benchmarks/curves.py --quick --output /tmp/b   # a tiny model, to check the harness

A straight line is fitted to the medians of each axis, and the deviation of each point from it is shown.  One bundle is
compiled for each image size and kept under build/bench.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from artefacts import CACHE, Cache
from bench import RESULTS, progress
from contenders import PRECISIONS
from growing import AXES, SIDES, axis_name
from report import samples_of, table, versions, write
from rounds import prepare, run
from workload import WORKLOADS

from f2edge.machine import cores, fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rounds import Outcome
    from workload import Workload

NOTABLE = 0.05
"""Relative deviation from the line above which a point is marked."""

UNITS = {
    "tokens": "tokens, 3 beams, encoder included",
    "beams": "beams",
    "prompts": "prompts about one image, its encoding included",
    "images": "images, one after the other",
    "size, caption": "megapixels",
    "size, vision": "megapixels",
    "size, encoder": "megapixels",
}


@dataclass(frozen=True)
class Curve:
    """Medians along an axis, and the straight line fitted to them by least squares of the relative errors.

    Args:
        axis: a key of :data:`UNITS`.
        amounts: the amounts of work, in the axis's unit.
        milliseconds: the median time for each amount.
        spread: the least and the largest time in ms for each amount.
        intercept: the line's value at 0, in milliseconds.
        slope: the line's slope in milliseconds per unit of work.
    """

    axis: str
    amounts: list[float]
    milliseconds: list[float]
    spread: list[tuple[float, float]]
    intercept: float
    slope: float

    @property
    def departures(self) -> list[float]:
        """Deviation of each point from the line, as a fraction of the line's value."""
        lines = [self.intercept + self.slope * amount for amount in self.amounts]
        return [taken / line - 1 for taken, line in zip(self.milliseconds, lines, strict=True)]


def curve(axis: str, points: Mapping[float, list[float]]) -> Curve:
    """Fit a curve to samples in ms, given by amount of work."""
    amounts, medians = list(points), [median(samples) for samples in points.values()]
    slope, intercept = np.polyfit(amounts, medians, 1, w=1 / np.array(medians))
    spread = [(min(samples), max(samples)) for samples in points.values()]
    return Curve(axis, amounts, medians, spread, float(intercept), float(slope))


def curves(outcomes: Mapping[str, Outcome], workload: Workload, precision: str) -> list[Curve]:
    """Return the curves of all axes that were measured."""
    growing = outcomes[f"growing-{precision}"]
    fitted = [
        curve(axis, {amount: samples_of(growing, axis_name(axis, amount)) for amount in amounts})
        for axis, amounts in AXES[workload.name].items()
        if growing.rounds
    ]
    scaled = {side: outcomes[_sized(precision, side)] for side in SIDES[workload.name]}
    measured = {side**2 / 1e6: outcome for side, outcome in scaled.items() if outcome.rounds}
    stages = ("caption", "vision", "encoder") if len(measured) > 1 else ()
    return fitted + [curve(f"size, {s}", {x: samples_of(o, s) for x, o in measured.items()}) for s in stages]


def _sized(precision: str, side: int) -> str:
    return f"scaled-cpu-{precision}-{side}"


def _threaded(precision: str, threads: int) -> str:
    return f"scaled-cpu-{precision}@{threads}"


def turns(workload: Workload, precision: str, threads: int) -> dict[str, int]:
    """Return the contenders by name, with the number of CPUs of each."""
    chosen = {f"growing-{precision}": threads}
    chosen |= {_sized(precision, side): threads for side in SIDES[workload.name]}
    return chosen | {_threaded(precision, count): count for count in range(1, threads + 1)}


def to_markdown(head: str, fitted: list[Curve], outcomes: Mapping[str, Outcome], precision: str) -> str:
    """Write each curve with its line and deviations, then the threads and the failures."""
    parts = [head, "Deviations of more than 5 % are in bold; docs/performance.md explains them."]
    for one in fitted:
        title = f"## {one.axis}\n\n{one.intercept:.1f} ms + {one.slope:.2f} ms x {UNITS[one.axis]}"
        rows = [
            [f"{x:g}", f"{y:.1f} ({low:.1f} to {high:.1f})", _percent(departure)]
            for x, y, (low, high), departure in zip(
                one.amounts, one.milliseconds, one.spread, one.departures, strict=True
            )
        ]
        parts += [title, table([UNITS[one.axis].split(",")[0], "ms", "deviation from the line"], rows)]
    failures = [f"{name}: failed ({outcome.failure})." for name, outcome in outcomes.items() if outcome.failure]
    return "\n\n".join([*parts, _threads(outcomes, precision), *failures]) + "\n"


def _percent(departure: float) -> str:
    text = f"{100 * departure:+.1f} %"
    return f"**{text}**" if abs(departure) > NOTABLE else text


def _threads(outcomes: Mapping[str, Outcome], precision: str) -> str:
    one = outcomes[_threaded(precision, 1)]
    rows = []
    for name, outcome in outcomes.items():
        if "@" in name and outcome.rounds and one.rounds:
            stages = {stage: median(samples_of(outcome, stage)) for stage in ("caption", "vision", "encoder")}
            cells = [f"{ms:.1f} ({median(samples_of(one, stage)) / ms:.2f}x)" for stage, ms in stages.items()]
            rows.append([name.split("@")[1], *cells])
    return "## threads\n\n" + table(["threads", "caption, ms", "vision, ms", "encoder, ms"], rows)


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="rounds; everything is measured once in each (3)")
    parser.add_argument("--threads", type=int, default=cores(), help="largest number of CPUs (all)")
    parser.add_argument("--precision", choices=PRECISIONS, default="int8", help="precision of the bundles (int8)")
    parser.add_argument("--quick", action="store_true", help="measure a tiny model")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory for curves.json, curves.md, curves.png")
    parser.add_argument("--cache", type=Path, default=CACHE, help="directory of compiled models (build/bench)")
    return parser.parse_args()


def main() -> None:
    """Measure all curves; write and print the report."""
    chosen = arguments()
    workload = WORKLOADS["tiny" if chosen.quick else "base"]
    who, cache = turns(workload, chosen.precision, chosen.threads), Cache(workload, chosen.cache)
    outcomes, started = prepare(who, cache), time.monotonic()
    run(outcomes, who, cache, chosen.rounds, progress)
    fitted, seconds = curves(outcomes, workload, chosen.precision), time.monotonic() - started
    machine = fingerprint()
    head = (
        f"Florence-2-{workload.name}, f2edge {chosen.precision}, random weights, rounds: {chosen.rounds}, "
        f"threads: {chosen.threads} of {machine['cpu']}, {seconds:.0f} s."
    )
    report: dict[str, Any] = {
        "machine": machine,
        "versions": versions(),
        "seconds": round(seconds),
        "curves": [asdict(one) | {"departures": one.departures} for one in fitted],
        "rounds": {name: outcome.rounds for name, outcome in outcomes.items()},
    }
    text = to_markdown(head, fitted, outcomes, chosen.precision)
    write(chosen.output, "curves", report, text)
    from chart import draw_curves

    draw_curves(fitted, UNITS, chosen.output / "curves.png", head)
    print(text)


if __name__ == "__main__":
    main()
