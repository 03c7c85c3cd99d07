"""Measure compiling and running the published sizes: seconds, peak memory, size on disk.  Weights are random.

    python benchmarks/sizes.py base --output benchmarks/results/base.json
    python benchmarks/sizes.py base --precision int8 --kill-after 120 300 --output benchmarks/results/base_int8.json
    python benchmarks/sizes.py large --precision int8 --pictures 32 --keep build/large.int8

Each step runs in a process of its own; its peak resident memory is the kernel's count for that process.  ``make bench``
compares the speed of compiled models with other ways to run Florence-2.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from artefacts import Cache, compile_arguments, write_crops
from workload import WORKLOADS

from f2edge.bundle.manifest import open_bundle

MIB = 1024
CROPS = 128
"""Pictures that INT8 is calibrated on unless told otherwise: as many as a build takes by default."""


def measure(arguments: list[str]) -> dict[str, Any]:
    """Run ``f2edge`` with ``arguments`` in a new process; return its seconds, peak memory in MiB and output."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "f2edge", *arguments], stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"f2edge {' '.join(arguments)} failed")
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "peak_mib": round(usage.ru_maxrss / MIB),
        "output": output,
    }


def interrupted(arguments: list[str], seconds: list[float]) -> None:
    """Start ``f2edge`` once for each time in ``seconds`` and kill it then; at last let it resume and finish."""
    command = [sys.executable, "-m", "f2edge", *arguments]
    for limit in seconds:
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=limit)  # noqa: S603 - killed at the limit
        except subprocess.TimeoutExpired:
            continue
        sys.exit(f"f2edge finished within {limit:g} s; choose a shorter time for --kill-after")
    measure(arguments)


def hashes(bundle: Path) -> dict[str, dict[str, str]]:
    """Return the SHA-256 of each component's files."""
    return {name: dict(component.sha256) for name, component in open_bundle(bundle).components.items()}


def run(
    size: str, target: str, precision: str, *, pictures: int, keep: Path | None, with_run: bool, kill_after: list[float]
) -> dict[str, Any]:
    """Run all steps for one size and return the report as JSON values."""
    with tempfile.TemporaryDirectory() as scratch:
        cache, bundle = Cache(WORKLOADS[size], Path(scratch)), keep or Path(scratch) / "bundle"
        crops = Path(scratch) / "crops"
        if precision == "int8":
            write_crops(crops, pictures)
        compiled = measure([*compile_arguments(f"{target}-{precision}", cache, bundle, crops), "--json"])
        report = {"size": size, "target": target, "precision": precision, "compile": _figures(compiled)}
        report |= {"pictures": pictures} if precision == "int8" else {}
        report["bundle"] = {k: v for k, v in json.loads(compiled["output"]).items() if k != "path"}
        report["sha256"] = hashes(bundle)
        if kill_after:
            again = Path(scratch) / "again"
            interrupted(compile_arguments(f"{target}-{precision}", cache, again, crops), kill_after)
            report["killed"] = {"after_s": kill_after, "identical": hashes(again) == hashes(bundle)}
        if with_run:
            tokens = str(cache.workload.caption_tokens)
            photographs = [str(path) for path in sorted(cache.get("photographs").iterdir())]
            options = ["--task", "caption", "--max-new-tokens", tokens, "--json"]
            report["run"] = _figures(measure(["run", str(bundle), *photographs, *options]))
        return report


def _figures(step: dict[str, Any]) -> dict[str, Any]:
    return {name: step[name] for name in ("seconds", "peak_mib")}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=list(WORKLOADS), help="size of the model")
    parser.add_argument("--target", default="cpu", help="target of the bundle, as f2edge targets lists them (cpu)")
    parser.add_argument("--precision", default="fp16", help="precision of the bundle (fp16)")
    parser.add_argument(
        "--pictures", type=int, default=CROPS, metavar="N", help=f"pictures that INT8 is calibrated on ({CROPS})"
    )
    parser.add_argument("--keep", type=Path, metavar="BUNDLE", help="leave the bundle here")
    parser.add_argument("--no-run", action="store_true", help="compile only, do not run the bundle")
    parser.add_argument(
        "--kill-after",
        type=float,
        nargs="*",
        default=[],
        metavar="S",
        help="compile a second time, kill it after S seconds (once for each S), resume it, and compare the files",
    )
    parser.add_argument("--output", type=Path, help="also write the JSON to this file")
    arguments = parser.parse_args()
    report = run(
        arguments.size,
        arguments.target,
        arguments.precision,
        pictures=arguments.pictures,
        keep=arguments.keep,
        with_run=not arguments.no_run,
        kill_after=arguments.kill_after,
    )
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
