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
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from artefacts import BUNDLES, CACHE, Cache
from bench import RESULTS, progress
from embedding import BATCHES, CLIENTS
from report import samples_of, table, versions, write
from rounds import prepare, run
from workload import WORKLOADS

from f2edge.machine import cores, fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rounds import Outcome

PEER = "embedded-torch"


def shares(threads: int) -> list[tuple[int, int]]:
    """Return how ``threads`` are shared: one worker of all of them first, then as many workers as threads."""
    return list(dict.fromkeys([(1, threads), (threads, 1)]))


def name_of(bundle: str, workers: int, threads: int) -> str:
    """Return the name of the contender that has so many workers."""
    return f"embedded-{bundle}@{workers}x{threads}"


def to_markdown(head: str, outcomes: Mapping[str, Outcome], bundle: str, threads: int) -> str:
    """Write a table for threads that ask, and one for each kind of batch."""
    parts = [head, "## Threads that ask at the same time", _clients(outcomes)]
    ours = outcomes[name_of(bundle, *shares(threads)[0])]
    for kind in ("pictures", "questions"):
        title = {"pictures": "Captions of several pictures", "questions": "Questions about one picture"}[kind]
        parts += [f"## {title}, in one batch", _batches(kind, ours, outcomes.get(PEER))]
    parts += ["## A step of a greedy search for several questions", _steps(ours)]
    failures = [f"{name}: failed ({outcome.failure})." for name, outcome in outcomes.items() if outcome.failure]
    return "\n\n".join([*parts, *failures]) + "\n"


def _clients(outcomes: Mapping[str, Outcome]) -> str:
    rows = []
    for name, outcome in outcomes.items():
        for count in CLIENTS if "@" in name else ():
            rate, latency = (samples_of(outcome, f"clients_{count}_{what}") for what in ("answers_per_s", "latency"))
            if rate:
                rows.append([name.split("@")[1], str(count), _cell(rate), _cell(latency)])
    return table(["workers x threads", "threads that ask", "answers per second", "latency of an answer, ms"], rows)


def _batches(kind: str, ours: Outcome, peer: Outcome | None) -> str:
    contenders = {"f2edge": ours} | ({"transformers fp32": peer} if peer else {})
    rows = []
    for size in BATCHES:
        cells = [str(size)]
        for outcome in contenders.values():
            taken, alone = (samples_of(outcome, f"{kind}_{n}") for n in (size, 1))
            share = [f"{median(taken) / (size * median(alone)):.2f}" if taken else "–"]
            peak = samples_of(outcome, f"{kind}_{size}_peak_mb")
            cells += [_cell(taken), *share, f"{max(peak):.0f}" if peak else "–"]
        rows.append(cells)
    columns = ["ms", "of the time one by one", "peak memory, MB"]
    titles = [f"{who}, {column}" for who in contenders for column in columns]
    return table(["batch", *titles], rows)


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
    names = [name_of(chosen.bundle, *share) for share in shares(chosen.threads)]
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
