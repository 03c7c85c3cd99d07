"""Pictures of coloured shapes and words, with the true answer of every task.

Scene i of seed S is a pure function of (S, i). Training draws from seed 1, evaluation from seeds of
1000 and more.  Usage: ``python demo/scenes.py OUT --count 16 --seed 1000``
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from drawing import draw_background, draw_shape, draw_word, word_layout
from shapes import COLOURS, KINDS, SIZES, WORDS, Point, outline

if TYPE_CHECKING:
    from drawing import Layout
    from PIL import Image

Box = tuple[float, float, float, float]
PICTURE_SIZES = ((320, 320), (320, 240), (240, 320), (320, 280), (280, 320))
WORD_SHARE = 0.45
MAX_IOU = 0.05
MIN_ORDER_GAP = 0.06  # least distance of centres in x, as a fraction of the width, so that left to right is unambiguous


@dataclass(frozen=True)
class Shape:
    """One coloured shape; `box` is (x1, y1, x2, y2) in pixels of the picture."""

    size: str
    colour: str
    kind: str
    box: Box

    @property
    def name(self) -> str:
        """The phrase that fits no other shape of the scene: colour and kind."""
        return f"{self.colour} {self.kind}"

    def polygon(self, circle_points: int = 12) -> list[Point]:
        """The outline in pixels, clockwise from the topmost point."""
        x1, y1, x2, y2 = self.box
        return [(x1 + x * (x2 - x1), y1 + y * (y2 - y1)) for x, y in outline(self.kind, circle_points)]


@dataclass(frozen=True)
class Word:
    """A rendered upper-case word; boxes of the word and of its letters in pixels of the picture."""

    text: str
    box: Box
    letter_boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Scene:
    """A picture and its content; `shapes` are ordered from left to right by the centre of their boxes."""

    image: Image.Image
    shapes: tuple[Shape, ...]
    word: Word | None


def make_scene(seed: int, index: int) -> Scene:
    """Draw scene `index` of a seed: the same arguments give the same picture and the same truth."""
    rng = np.random.default_rng([seed, index])
    size = PICTURE_SIZES[rng.integers(len(PICTURE_SIZES))]
    layout = word_layout(str(rng.choice(WORDS)), size, rng) if rng.random() < WORD_SHARE else None
    shapes = _place_shapes(size, layout, rng)
    image = draw_background(size, rng)
    for shape in shapes:
        draw_shape(image, shape.polygon(circle_points=48), COLOURS[shape.colour], rng)
    word = _write(image, layout, rng) if layout else None
    return Scene(image, tuple(sorted(shapes, key=lambda s: s.box[0] + s.box[2])), word)


def _write(image: Image.Image, layout: Layout, rng: np.random.Generator) -> Word:
    letter_boxes = draw_word(image, layout, rng)
    return Word(layout.text, _union(letter_boxes), tuple(letter_boxes))


def _place_shapes(size: tuple[int, int], layout: Layout | None, rng: np.random.Generator) -> list[Shape]:
    """Place one to three shapes of different names; a shape for which there is no space is left out."""
    wanted = int(rng.choice([1, 2, 3], p=[0.2, 0.4, 0.4]))
    shapes: list[Shape] = []
    for _ in range(60):
        candidate = _random_shape(size, rng)
        if _fits(candidate, shapes, layout, size[0]):
            shapes.append(candidate)
        if len(shapes) == wanted:
            break
    return shapes


def _random_shape(size: tuple[int, int], rng: np.random.Generator) -> Shape:
    name = str(rng.choice(list(SIZES), p=[0.5, 0.5]))
    side = rng.uniform(*SIZES[name]) * sum(size) / 2
    x, y = rng.uniform(2, size[0] - side - 2), rng.uniform(2, size[1] - side - 2)
    box = (float(x), float(y), float(x + side), float(y + side))
    return Shape(name, str(rng.choice(list(COLOURS))), str(rng.choice(KINDS)), box)


def _fits(shape: Shape, others: list[Shape], layout: Layout | None, width: int) -> bool:
    if layout is not None and _iou(shape.box, layout.box) > 0:
        return False
    return all(
        other.name != shape.name
        and _iou(shape.box, other.box) < MAX_IOU
        and abs(shape.box[0] + shape.box[2] - other.box[0] - other.box[2]) / 2 > MIN_ORDER_GAP * width
        for other in others
    )


def _iou(a: Box, b: Box) -> float:
    overlap = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return overlap / (area - overlap)


def _union(boxes: list[Box]) -> Box:
    low, high = np.min(boxes, axis=0), np.max(boxes, axis=0)
    return float(low[0]), float(low[1]), float(high[2]), float(high[3])


def write_scenes(folder: Path, count: int, seed: int) -> None:
    """Write `count` PNG pictures and scenes.jsonl, one line of truth per picture, into a folder."""
    from questions import describe  # noqa: PLC0415  (questions needs the classes above)

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "scenes.jsonl").open("w", encoding="utf-8") as lines:
        for index in range(count):
            scene = make_scene(seed, index)
            name = f"{index:06d}.png"
            scene.image.save(folder / name)
            record = {"image": name, "size": scene.image.size, "seed": seed, "index": index}
            lines.write(json.dumps(record | describe(scene, seed, index)) + "\n")


def main() -> None:
    """Run the command line: OUT --count N --seed S."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1000)
    arguments = parser.parse_args()
    write_scenes(arguments.out, arguments.count, arguments.seed)


if __name__ == "__main__":
    main()
