"""Compile and run the real sizes with random weights: time, peak memory, size on disk.

    python benchmarks/sizes.py base --output benchmarks/results/base.json
    python benchmarks/sizes.py large --no-run

Weights are random, since the official ones may not be redistributed; neither latency nor memory depends on them.
Each step is a process of its own, and its peak resident memory is the kernel's count for it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

MIB = 1024
TOKENS = 32


def write_random_checkpoint(size: str, path: Path) -> None:
    """A checkpoint of the published size in Microsoft's layout, fp16 on disk."""
    import torch
    from checkpoints import write_checkpoint
    from geometries import BASE, LARGE

    write_checkpoint(path, geometry={"base": BASE, "large": LARGE}[size], dtype=torch.float16)


def write_photographs(directory: Path) -> list[Path]:
    """The two photographs that come with scikit-learn, as JPEG."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    samples = load_sample_images()
    paths = [directory / Path(name).name for name in samples.filenames]
    for path, picture in zip(paths, samples.images, strict=True):
        Image.fromarray(picture).save(path, quality=95)
    return paths


def measure(arguments: list[str]) -> dict[str, Any]:
    """Run ``f2edge`` with ``arguments`` in a process of its own."""
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


def run(size: str, target: str, precision: str, *, with_run: bool) -> dict[str, Any]:
    """All steps for one size."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        # In a process of its own: Linux counts what a parent held when it forked towards its child's peak.
        maker = multiprocessing.get_context("spawn").Process(
            target=write_random_checkpoint, args=(size, directory / size)
        )
        maker.start()
        maker.join()
        bundle = str(directory / "bundle")
        options = ["--target", target, "--precision", precision]
        compiled = measure(["compile", str(directory / size), "-o", bundle, *options, "--json"])
        report = {"size": size, "target": target, "precision": precision, "compile": _figures(compiled)}
        report["bundle"] = {k: v for k, v in json.loads(compiled["output"]).items() if k != "path"}
        if not with_run:
            return report
        pictures = [str(path) for path in write_photographs(directory)]
        answered = measure(["run", bundle, *pictures, "--task", "caption", "--max-new-tokens", str(TOKENS), "--json"])
        lines = [json.loads(line) for line in answered["output"].splitlines()]
        report["run"] = _figures(answered) | {"timings_ms": [line["timings_ms"] for line in lines]}
        bench = measure(["bench", bundle, "--new-tokens", str(TOKENS), "--num-beams", "3", "--runs", "5", "--json"])
        report["bench"] = json.loads(bench["output"])
        report["transformers"] = transformers_peer(size, TOKENS, runs=3)
        return report


def transformers_peer(size: str, tokens: int, runs: int) -> dict[str, Any]:
    """The same question to transformers' own model, fp32 with sdpa: milliseconds of whole answers."""
    import torch
    import transformers
    from geometries import BASE, LARGE
    from native import native_config, native_inputs
    from transformers import Florence2ForConditionalGeneration

    geometry = {"base": BASE, "large": LARGE}[size]
    config = native_config(geometry)
    config._attn_implementation = "sdpa"
    model = Florence2ForConditionalGeneration._from_config(config, dtype=torch.float32).eval()
    inputs = native_inputs(geometry, torch.zeros(1, 3, *geometry.image_size), [0, *range(10, 18), 2])
    samples = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        model.generate(**inputs, num_beams=3, min_new_tokens=tokens, max_new_tokens=tokens, do_sample=False)
        samples.append((time.perf_counter() - started) * 1e3)
    measured = sorted(samples[1:])
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    return {"samples_ms": measured, "median_ms": measured[len(measured) // 2], "tokens": tokens, "versions": versions}


def _figures(step: dict[str, Any]) -> dict[str, Any]:
    return {name: step[name] for name in ("seconds", "peak_mib")}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=["base", "large"])
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--precision", default="fp16")
    parser.add_argument("--no-run", action="store_true", help="compile only")
    parser.add_argument("--output", type=Path, help="write the JSON here as well")
    arguments = parser.parse_args()
    report = run(arguments.size, arguments.target, arguments.precision, with_run=not arguments.no_run)
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
