"""Measure f2edge against the other ways to run Florence-2 on this CPU.

    make bench                                           # all contenders, base size
    python benchmarks/bench.py --only torch-fp32,f2edge-int8,limits --rounds 2
    python benchmarks/bench.py --size large --only torch-bf16,f2edge-int8
    python benchmarks/bench.py --quick --output /tmp/b   # a tiny model, to check the harness

The weights are random: the official ones may not be redistributed, and latency does not depend on their values.
Compiled models are kept under build/bench and reused until something that makes them changes.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from artefacts import CACHE, Cache
from contenders import ENTRIES
from report import to_json, to_markdown, write
from rounds import prepare, run
from workload import ROOT, WORKLOADS

from f2edge.machine import cores

RESULTS = ROOT / "benchmarks" / "results"


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="rounds; each contender has one turn in each (3; 1 with --quick)")
    parser.add_argument("--threads", type=int, default=cores(), help="CPUs that each contender may use (all)")
    parser.add_argument("--only", default=",".join(ENTRIES), help=f"contenders to run (all): {','.join(ENTRIES)}")
    parser.add_argument("--size", choices=("base", "large"), default="base", help="size of the model (base)")
    parser.add_argument("--quick", action="store_true", help="measure a tiny model, one round")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory for bench.json, bench.md and bench.png")
    parser.add_argument("--cache", type=Path, default=CACHE, help="directory of compiled models (build/bench)")
    chosen = parser.parse_args()
    if unknown := set(chosen.only.split(",")) - set(ENTRIES):
        parser.error(f"no such contender: {', '.join(sorted(unknown))}")
    return chosen


def main() -> None:
    """Measure all contenders; write and print the report."""
    chosen = arguments()
    workload = WORKLOADS["tiny" if chosen.quick else chosen.size]
    names = [name for name in ENTRIES if name in chosen.only.split(",")]
    rounds = chosen.rounds or (1 if chosen.quick else 3)
    cache = Cache(workload, chosen.cache)
    outcomes = prepare(names, cache)
    started = time.monotonic()
    run(outcomes, dict.fromkeys(names, chosen.threads), cache, rounds, progress)
    report = to_json(outcomes, workload, chosen.threads, time.monotonic() - started)
    text = to_markdown(outcomes, workload, report)
    file = f"bench_{workload.name}" if workload.name == "large" else "bench"
    write(chosen.output, file, report, text)
    from chart import draw

    draw(outcomes, chosen.output / f"{file}.png", text.split(";", maxsplit=1)[0])
    print(text)


def progress(line: str) -> None:
    """Print a line to stderr at once."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
