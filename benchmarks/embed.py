"""Measure a model embedded in an app: threads that ask at the same time, workers x threads, and batches.

    python benchmarks/embed.py
    python benchmarks/embed.py --bundle cpu-fp16 --rounds 2
    python benchmarks/embed.py --quick --output /tmp/b   # a tiny model, to check the harness

transformers' batched ``generate`` takes turns with the bundle in the same run.  All answers are captions of the same
number of tokens, searched with 3 beams.
"""

from __future__ import annotations

import argparse
import time
from itertools import product
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from artefacts import BUNDLES, CACHE, Cache
from bench import RESULTS, progress
from embedding import BATCHES, CLIENTS, TOGETHER, shares
from report import samples_of, table, versions, write
from rounds import prepare, run
from workload import WORKLOADS

from f2edge.machine import cores, fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rounds import Outcome

PEER = "embedded-torch"
KINDS = ("turns", "batches")
"""What is measured of a bundle, each by a contender of its own."""


def to_markdown(head: str, outcomes: Mapping[str, Outcome], bundle: str, threads: int) -> str:
    """Write a table for threads that ask, and one for each kind of batch."""
    turns, ours = (outcomes[f"embedded-{bundle}@{kind}"] for kind in KINDS)
    ways = [f"{workers}x{each}" for workers, each in shares(threads)]
    parts = [head, "## Threads that ask at the same time", _clients(turns, ways)]
    parts += [f"## Captions of {TOGETHER} pictures in one batch, by workers x threads", _together(turns, ways)]
    for kind in ("pictures", "questions"):
        title = {"pictures": "Captions of several pictures", "questions": "Questions about one picture"}[kind]
        parts += [f"## {title}, in one batch", _batches(kind, ours, outcomes.get(PEER))]
    parts += ["## A step of a greedy search for several questions", _steps(ours)]
    failures = [f"{name}: failed ({outcome.failure})." for name, outcome in outcomes.items() if outcome.failure]
    return "\n\n".join([*parts, *failures]) + "\n"


def _clients(turns: Outcome, ways: list[str]) -> str:
    rows = []
    for way, count in product(ways, CLIENTS):
        rate, latency = (samples_of(turns, f"{way}_clients_{count}_{what}") for what in ("answers_per_s", "latency"))
        rows.append([way, str(count), _cell(rate), _cell(_times_the_first(turns, ways[0], way, count)), _cell(latency)])
    times = f"times those of {ways[0]} in turn"
    return table(["workers x threads", "threads that ask", "answers per second", times, "latency, ms"], rows)


def _times_the_first(turns: Outcome, first: str, way: str, count: int) -> list[float]:
    """Return the answers per second of each turn, divided by those of the turns of the first way around it."""
    name = f"clients_{count}_answers_per_s"
    return [] if way == first else [s[f"{way}_{name}"][0] / fmean(s[f"{first}_{name}"]) for s in turns.rounds]


def _together(turns: Outcome, ways: list[str]) -> str:
    rows = [["one by one", _cell(samples_of(turns, "one_by_one")), ""]]
    for place, way in enumerate(ways):
        around = [fmean(samples["one_by_one"][place : place + 2]) for samples in turns.rounds]
        taken = samples_of(turns, f"{way}_together")
        rows.append([way, _cell(taken), _cell([t / a for t, a in zip(taken, around, strict=True)])])
    return table(["workers x threads", "ms", f"of the time one by one with {ways[0]}"], rows)


def _batches(kind: str, ours: Outcome, peer: Outcome | None) -> str:
    contenders = {"f2edge": ours} | ({"transformers fp32": peer} if peer else {})
    rows = []
    for size in BATCHES:
        cells = [str(size)]
        for outcome in contenders.values():
            taken, peak = (samples_of(outcome, f"{kind}_{size}{what}") for what in ("", "_peak_mb"))
            cells += [_cell(taken), _cell(_shares(outcome, kind, size)), f"{max(peak):.0f}" if peak else "–"]
        rows.append(cells)
    columns = ["ms", "of the time one by one", "peak memory, MB"]
    titles = [f"{who}, {column}" for who in contenders for column in columns]
    return table(["batch", *titles], rows)


def _shares(outcome: Outcome, kind: str, size: int) -> list[float]:
    """Return the time of each batch, divided by that of as many questions one by one before and after it."""
    name = f"{kind}_{size}"
    return [samples[name][0] / (size * fmean(samples[f"{name}_alone"])) for samples in outcome.rounds]


def _steps(ours: Outcome) -> str:
    alone = samples_of(ours, "greedy_step_1")
    taken = {size: samples_of(ours, f"greedy_step_{size}") for size in BATCHES}
    rows = [[str(size), _cell(t), f"{median(t) / median(alone):.2f}"] for size, t in taken.items() if t]
    return table(["questions", "ms", "of the time of one"], rows)


def _cell(values: list[float]) -> str:
    if not values:
        return "–"
    return " ".join([_number(median(values)), f"({_number(min(values))} to {_number(max(values))})"])


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="rounds; everything is measured once in each (3)")
    parser.add_argument("--threads", type=int, default=cores(), help="CPUs that each contender may use (all)")
    parser.add_argument("--bundle", choices=BUNDLES, default="cpu-int8", help="target and precision (cpu-int8)")
    parser.add_argument("--no-peer", action="store_true", help="leave transformers out, which takes most of the time")
    parser.add_argument("--quick", action="store_true", help="measure a tiny model")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory for embed.json and embed.md")
    parser.add_argument("--cache", type=Path, default=CACHE, help="directory of compiled models (build/bench)")
    return parser.parse_args()


def main() -> None:
    """Measure; write and print the report."""
    chosen = arguments()
    workload = WORKLOADS["tiny" if chosen.quick else "base"]
    names = [f"embedded-{chosen.bundle}@{kind}" for kind in KINDS]
    names += [] if chosen.no_peer else [PEER]
    cache = Cache(workload, chosen.cache)
    outcomes, started = prepare(names, cache), time.monotonic()
    run(outcomes, dict.fromkeys(names, chosen.threads), cache, chosen.rounds, progress)
    machine, seconds = fingerprint(), time.monotonic() - started
    height, width = workload.geometry.image_size
    head = (
        f"Florence-2-{workload.name}, random weights, {height} x {width}, f2edge {chosen.bundle}, captions of "
        f"{workload.caption_tokens} tokens, 3 beams, rounds: {chosen.rounds}, threads: {chosen.threads} of "
        f"{machine['cpu']}, {seconds:.0f} s.  Cells: median (least to largest)."
    )
    report: dict[str, Any] = {
        "machine": {**machine, "threads": chosen.threads},
        "versions": versions(),
        "workload": {**vars(workload), "image_size": [height, width], "bundle": chosen.bundle},
        "seconds": round(seconds),
        "rounds": {name: outcome.rounds for name, outcome in outcomes.items()},
        "failures": {name: outcome.failure for name, outcome in outcomes.items() if outcome.failure},
    }
    text = to_markdown(head, outcomes, chosen.bundle, chosen.threads)
    write(chosen.output, "embed", report, text)
    print(text)


if __name__ == "__main__":
    main()
