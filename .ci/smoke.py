"""Compile the embedded checkpoint and ask the bundle about a scene, with the f2edge of this interpreter.

    python .ci/smoke.py OUT [--target T]

Uses the bundle ``OUT/demo.T`` if it is there, so that an environment without the compile extra can run what another
one compiled.  Every command starts in OUT, so that the checkout does not shadow an installed wheel.
"""
# ruff: noqa: INP001, S603, T201 - a script of the workflow, which starts the commands of this file alone

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
MIN_IOU = 0.8


def main() -> None:
    """Compile, verify, run, and compare the answer with the scene's truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--target", default="cpu")
    chosen = parser.parse_args()
    out = chosen.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    bundle = out / f"demo.{chosen.target}"
    if not bundle.exists():
        run(out, "-m", "f2edge", "compile", CHECKOUT / "demo" / "checkpoint", "-o", bundle, "--target", chosen.target)
    run(out, "-m", "f2edge", "verify", bundle)
    run(out, CHECKOUT / "demo" / "scenes.py", "scenes", "--count", "1", "--seed", "2000")
    answer = run(out, "-m", "f2edge", "run", bundle, Path("scenes", "000000.png"), "--task", "od", "--json")
    compare(json.loads(answer), json.loads((out / "scenes" / "scenes.jsonl").read_text("utf-8")))
    print(f"{bundle.name} answers as it should")


def run(directory: Path, *arguments: str | Path) -> str:
    """Run this interpreter in a directory, and show and return what it prints on stdout."""
    command = [sys.executable, *map(str, arguments)]
    printed = subprocess.run(command, cwd=directory, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout
    print(printed, end="", flush=True)
    return printed


def compare(answer: dict[str, Any], scene: dict[str, Any]) -> None:
    """Exit with a message unless the labels are the scene's and each box covers its object."""
    truth = next(question for question in scene["questions"] if question["task"] == "OD")
    detected = answer["result"]["<OD>"]
    if detected["labels"] != truth["labels"]:
        sys.exit(f"labels {detected['labels']}, expected {truth['labels']}")
    overlaps = [iou(box, expected) for box, expected in zip(detected["bboxes"], truth["boxes"], strict=True)]
    if min(overlaps) < MIN_IOU:
        sys.exit(f"boxes {detected['bboxes']}, expected {truth['boxes']}: least IoU {min(overlaps):.2f}")


def iou(a: list[float], b: list[float]) -> float:
    """Compute the intersection over union of two boxes (x1, y1, x2, y2)."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    overlap = max(0.0, width) * max(0.0, height)
    area = sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (a, b))
    return overlap / (area - overlap)


if __name__ == "__main__":
    main()
