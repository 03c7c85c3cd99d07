"""Measure what tiles find in large pictures of small objects: recall, precision and time, with and without them.

    python benchmarks/tiles.py demo.cpu --output benchmarks/results/tiles.json

A picture has 2304 x 2304 pixels and 40 shapes of the embedded checkpoint's world, 11 to 15.5 pixels wide.  An object
counts as found if a box of its label has an IoU of at least 0.5 with it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "demo"))

import f2edge
from f2edge.evaluation.overlap import box_iou, matched

if TYPE_CHECKING:
    from PIL import Image
    from placing import Box, Shape

SIDE = 2304
SHAPES = 40
SMALLEST, LARGEST = 11.0, 15.5
APART = 40
"""The least distance of two centres on one axis or the other, in pixels."""
SEED = 6000
CONFIDENT = 0.5


def large_scene(index: int) -> tuple[Image.Image, list[Shape]]:
    """Draw a large picture of small shapes."""
    from drawing import draw_background, draw_shape
    from shapes import COLOURS

    rng = np.random.default_rng([SEED, index])
    image = draw_background((SIDE, SIDE), rng)
    shapes: list[Shape] = []
    while len(shapes) < SHAPES:
        candidate = _random_shape(rng)
        if all(max(abs(a - b) for a, b in zip(candidate.centre, s.centre, strict=True)) > APART for s in shapes):
            shapes.append(candidate)
            draw_shape(image, candidate.polygon(circle_points=48), COLOURS[candidate.colour], rng)
    return image, shapes


def _random_shape(rng: np.random.Generator) -> Shape:
    from placing import Shape
    from shapes import COLOURS, KINDS

    side = float(rng.uniform(SMALLEST, LARGEST))
    x, y = (float(v) for v in rng.uniform(2, SIDE - side - 2, 2))
    return Shape("tiny", str(rng.choice(list(COLOURS))), str(rng.choice(KINDS)), (x, y, x + side, y + side))


def hits(shapes: list[Shape], labels: list[str], boxes: list[Box]) -> int:
    """Count the shapes that a box with their name fits."""
    return sum(
        matched(
            [b for n, b in zip(labels, boxes, strict=True) if n == name],
            [s.box for s in shapes if s.name == name],
            box_iou,
        )
        for name in {shape.name for shape in shapes}
    )


def measure(model: f2edge.Florence2, scenes: int, tile: int | None) -> dict[str, Any]:
    """Ask about all scenes; return the shares and the mean time of a picture in seconds."""
    right, sure_right, given, sure, seconds = 0, 0, 0, 0, 0.0
    for index in range(scenes):
        image, shapes = large_scene(index)
        started = time.perf_counter()
        result = model.run(image, "od", tile=tile)
        seconds += time.perf_counter() - started
        kept = [k for k, confidence in enumerate(result.confidences) if confidence >= CONFIDENT]
        right += hits(shapes, list(result.labels), list(result.boxes))
        sure_right += hits(shapes, [result.labels[k] for k in kept], [result.boxes[k] for k in kept])
        given, sure = given + len(result.labels), sure + len(kept)
        print(f"tile {tile}, picture {index + 1} of {scenes}", file=sys.stderr, flush=True)
    return {
        "tile": tile,
        "recall": right / (scenes * SHAPES),
        "precision": right / max(given, 1),
        "recall_confident": sure_right / (scenes * SHAPES),
        "precision_confident": sure_right / max(sure, 1),
        "seconds": seconds / scenes,
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="a bundle of the embedded checkpoint")
    parser.add_argument("--scenes", type=int, default=5)
    parser.add_argument("--tiles", type=int, nargs="*", default=[576, 288, 112], help="sides of tiles in pixels")
    parser.add_argument("--output", type=Path, help="also write the JSON to this file")
    arguments = parser.parse_args()
    with f2edge.load(arguments.bundle) as model:
        rows = [measure(model, arguments.scenes, tile) for tile in (None, *arguments.tiles)]
    text = json.dumps({"scenes": arguments.scenes, "confident": CONFIDENT, "rows": rows}, indent=2)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
