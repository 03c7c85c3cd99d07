"""Build TensorRT for RTX engines of the published sizes without a GPU: build time and engine size.

    python benchmarks/tensorrt_engines.py base --output benchmarks/results/tensorrt.json

Weights are random, and the engines are not run.  INT8 is calibrated on the two photographs that come with scikit-learn:
build times and sizes do not depend on what they show.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artefacts import Cache
from workload import WORKLOADS

if TYPE_CHECKING:
    from f2edge.targets import Precision

PRECISIONS: tuple[Precision, ...] = ("fp16", "int8")


class Clock:
    """A listener that records when each stage of a build begins."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}

    def __call__(self, stage: str) -> None:
        """Record the beginning of a stage."""
        self.began[stage] = time.perf_counter()

    def seconds(self, stage: str) -> float:
        """Return the seconds from the beginning of a stage to the beginning of the next."""
        stages = list(self.began)
        return round(self.began[stages[stages.index(stage) + 1]] - self.began[stage], 1)


def measure(checkpoint: Path, bundle: Path, precision: Precision, pictures: Path) -> dict[str, Any]:
    """Compile one bundle; return build time and size of its engines, and what ``verify`` measured."""
    from f2edge.compile.build import build
    from f2edge.compile.options import Listener, Options
    from f2edge.targets import get_target

    clock = Clock()
    options = Options(get_target("rtx"), precision, calibration=pictures if precision == "int8" else None)
    built = build(checkpoint, bundle, options, listener=Listener(clock))
    clock("end")
    engines = {
        name: {"build_s": clock.seconds(f"compile {name}"), "bytes": built.file(name).stat().st_size}
        for name in built.components
    }
    return {"engines": engines, "verify_s": clock.seconds("verify"), "verified": built.to_json()["verified"]}


def run(size: str, output: Path) -> dict[str, Any]:
    """Measure all precisions of one size; the report is written after each."""
    report: dict[str, Any] = {"size": size, "tensorrt_rtx": version("tensorrt-rtx-cu13"), "run": False}
    with tempfile.TemporaryDirectory() as scratch:
        cache = Cache(WORKLOADS[size], Path(scratch))
        checkpoint, pictures = cache.get("checkpoint"), cache.get("photographs")
        for precision in PRECISIONS:
            report[precision] = measure(checkpoint, Path(scratch) / precision, precision, pictures)
            output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=["base", "large", "tiny"], help="size of the model")
    parser.add_argument("--output", type=Path, required=True, help="file for the JSON")
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.size, arguments.output), indent=2))


if __name__ == "__main__":
    main()
