"""How far ``f2edge bench`` can be trusted on this machine: python benchmarks/bench_noise.py BUNDLE --output FILE.

Five questions, for a machine that does nothing else:

- Of comparisons of a bundle with itself, how many find a difference?  At most 1 of 20.
- Of comparisons with the same bundle whose answers take 5 % longer, how many find that?  At least 19 of 20.
- How far apart are the medians of measurements in processes of their own?  At most 3 %.
- How much longer do answers take while the machine is watched?  Less than 1 %.
- How much processor time does it take to watch?  Less than 1 % of one processor: answers cannot lose more than that.

The slower bundle is a real one: its vision tower waits, with a processor busy, for 5 % of the median answer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import f2edge
from f2edge.machine import fingerprint
from f2edge.measuring.asking import Asking, Plan
from f2edge.measuring.comparison import Turns
from f2edge.measuring.statistics import typical_ratio
from f2edge.measuring.watch import watched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from f2edge.measuring.statistics import Ratio

_WARM_UP = 20
_SLOWER = 0.05
_WATCHED_SECONDS = 20.0


class Slower:
    """A runtime whose vision tower takes longer, and that is another one in everything else."""

    def __init__(self, runtime: Any, seconds: float) -> None:
        self._runtime, self._seconds = runtime, seconds

    def encode_image(self, *arguments: Any) -> Any:
        """Encode, and keep a processor busy for the time that is to be found."""
        features, until = self._runtime.encode_image(*arguments), time.perf_counter() + self._seconds
        while time.perf_counter() < until:
            pass
        return features

    def __getattr__(self, name: str) -> Any:
        """Hand on everything else."""
        return getattr(self._runtime, name)


def opened(bundle: Path, tokens: int) -> Asking:
    """Open a bundle and warm it up."""
    asking = Asking.of(f2edge.load(bundle), None, "caption", None, tokens)
    for _ in range(_WARM_UP):
        asking.once()
    return asking


def median_ms(asking: Asking, runs: int) -> float:
    """Return the median total of some answers in milliseconds."""
    return float(np.median([asking.once()[1].timings_ms["total"] for _ in range(runs)]))


def comparisons(first: Asking, second: Asking, runs: int, count: int) -> list[Ratio]:
    """Compare two models as ``f2edge bench --against`` does, several times."""
    ratios = []
    for number in range(count):
        turns = Turns(first, second)
        turns.run(Plan(runs), lambda _name: None)
        ratios.append(turns.ratios()["total"])
        print(f"{number + 1} of {count}: {ratios[-1].to_json()}", file=sys.stderr)
    return ratios


def overhead(asking: Asking, rounds: int) -> Ratio:
    """Return the time of answers while the machine is watched, divided by that of others in turns with them."""
    with_watch, without = [], []
    for _ in range(rounds):
        with watched():
            with_watch.append([asking.once()[1].timings_ms["total"] for _ in range(2)])
        without.append([asking.once()[1].timings_ms["total"] for _ in range(2)])
    return typical_ratio(with_watch, without)


def watching(seconds: float) -> float:
    """Return the processor time that a watched second takes while nothing is measured, in seconds."""
    with watched():
        started = time.process_time()
        time.sleep(seconds)
        return (time.process_time() - started) / seconds


def in_a_row(bundle: Path, tokens: int, runs: int, count: int) -> list[float]:
    """Return the median in milliseconds of each of some measurements by the command, in processes of their own."""
    options = ["--new-tokens", str(tokens), "--runs", str(runs), "--starts", "0", "--json"]
    command = [sys.executable, "-m", "f2edge", "bench", str(bundle), *options]
    printed = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(count)]  # noqa: S603
    return [float(json.loads(text)["stages_ms"]["total"]["p50"]) for text in printed]


def summary(same: Sequence[Ratio], slower: Sequence[Ratio]) -> dict[str, Any]:
    """Return how many comparisons found what, with the ratios."""
    return {
        "same": {"found": sum(bool(ratio.differs) for ratio in same), "of": len(same)},
        "slower": {"found": sum(bool(r.differs) and r.ratio > 1 for r in slower), "of": len(slower)},
        "ratios_same": [ratio.to_json() for ratio in same],
        "ratios_slower": [ratio.to_json() for ratio in slower],
    }


def main() -> None:
    """Measure, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--comparisons", type=int, default=20)
    parser.add_argument("--measurements", type=int, default=2, help="measurements in a row whose medians are compared")
    parser.add_argument("--runs", type=int, default=120, help="answers of each bundle in a comparison")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    started = time.perf_counter()
    medians = in_a_row(given.bundle, given.tokens, given.runs, given.measurements)
    share = watching(_WATCHED_SECONDS)
    first, second = opened(given.bundle, given.tokens), opened(given.bundle, given.tokens)
    with watched() as watch:
        same = comparisons(first, second, given.runs, given.comparisons)
        cost = overhead(first, given.runs)
        wait = _SLOWER * median_ms(second, given.runs) / 1e3
        first.model._runtime = Slower(first.model.runtime, wait)
        slower = comparisons(first, second, given.runs, given.comparisons)
    figures = {
        **fingerprint(),
        "bundle": given.bundle.resolve().name,
        "tokens": given.tokens,
        "runs": given.runs,
        "seconds": round(time.perf_counter() - started),
        "others": watch.contention and watch.contention.others,
        "stolen": watch.contention and watch.contention.stolen,
        "p50_ms": medians,
        "overhead": cost.to_json(),
        "watching": round(share, 5),
        **summary(same, slower),
    }
    text = json.dumps(figures, indent=1) + "\n"
    print(text) if given.output is None else given.output.write_text(text)


if __name__ == "__main__":
    main()
