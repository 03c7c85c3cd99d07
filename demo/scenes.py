"""Pictures of coloured shapes and words, with the true answer of every task.

Scene i of seed S is a pure function of (S, i). Training draws from seed 1, evaluation from seeds of
1000 and more.  Usage: ``python demo/scenes.py OUT --count 16 --seed 1000 [--spoilt 0.5] [--absent 0.3] [--new bow]``
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from drawing import draw_background, draw_shape, draw_word, word_layout
from placing import Box, Shape, place_shapes
from shapes import COLOURS, NEW_KINDS, WORDS
from spoiling import spoil

if TYPE_CHECKING:
    from drawing import Layout
    from PIL import Image

PICTURE_SIZES = ((320, 320), (320, 240), (240, 320), (320, 280), (280, 320))
WORD_SHARE = 0.45


@dataclass(frozen=True)
class Word:
    """A rendered upper-case word; boxes of the word and of its letters in pixels of the picture."""

    text: str
    box: Box
    letter_boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Scene:
    """A picture and its content.

    `shapes` are ordered from left to right by the centre of their boxes, and each is drawn over those before it;
    `background` is dark or light; `new` is a kind that the embedded checkpoint does not know, "" without one.
    """

    image: Image.Image
    shapes: tuple[Shape, ...]
    word: Word | None
    background: str
    new: str = ""


def make_scene(seed: int, index: int, spoilt: float = 0.0, new: str = "") -> Scene:
    """Draw scene `index` of a seed: the same arguments give the same picture and the same truth.

    Args:
        seed: the number of the collection.
        index: the number of the scene in it.
        spoilt: the share of scenes whose picture is blurred, noisy, pale or compressed; their truth is the same.
        new: a kind of `NEW_KINDS`, of which every scene then has a shape.
    """
    scene = _clean_scene(np.random.default_rng([seed, index]), new)
    rng = np.random.default_rng([seed, index, 3])
    if rng.random() < spoilt:
        return replace(scene, image=spoil(scene.image, rng))
    return scene


def _clean_scene(rng: np.random.Generator, new: str) -> Scene:
    size = PICTURE_SIZES[rng.integers(len(PICTURE_SIZES))]
    layout = word_layout(str(rng.choice(WORDS)), size, rng) if rng.random() < WORD_SHARE else None
    shapes = place_shapes(size, layout, rng, new)
    image = draw_background(size, rng)
    background = "light" if np.asarray(image).mean() > 127 else "dark"
    for shape in shapes:
        draw_shape(image, shape.polygon(circle_points=48), COLOURS[shape.colour], rng)
    return Scene(image, tuple(shapes), _write(image, layout, rng) if layout else None, background, new)


def _write(image: Image.Image, layout: Layout, rng: np.random.Generator) -> Word:
    letter_boxes = draw_word(image, layout, rng)
    return Word(layout.text, _union(letter_boxes), tuple(letter_boxes))


def _union(boxes: list[Box]) -> Box:
    low, high = np.min(boxes, axis=0), np.max(boxes, axis=0)
    return float(low[0]), float(low[1]), float(high[2]), float(high[3])


def write_scenes(folder: Path, count: int, seed: int, spoilt: float = 0.0, absent: float = 0.0, new: str = "") -> None:
    """Write `count` PNG pictures and scenes.jsonl, one line of truth per picture, into a folder.

    Args:
        folder: where to write; it is made if needed.
        count: the number of scenes.
        seed: the number of the collection.
        spoilt: the share of pictures that are blurred, noisy, pale or compressed.
        absent: the share of phrases that name what is not there.
        new: a kind that the embedded checkpoint does not know, of which every scene then has a shape.
    """
    from questions import describe  # noqa: PLC0415  (questions needs the classes above)

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "scenes.jsonl").open("w", encoding="utf-8") as lines:
        for index in range(count):
            scene = make_scene(seed, index, spoilt, new)
            name = f"{index:06d}.png"
            scene.image.save(folder / name)
            record = {"image": name, "size": scene.image.size, "seed": seed, "index": index}
            lines.write(json.dumps(record | describe(scene, seed, index, absent)) + "\n")


def main() -> None:
    """Run the command line: OUT --count N --seed S [--spoilt SHARE] [--absent SHARE] [--new KIND]."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--spoilt", type=float, default=0.0, help="share of blurred, noisy, pale, compressed pictures")
    parser.add_argument("--absent", type=float, default=0.0, help="share of phrases that name what is not there")
    parser.add_argument(
        "--new", choices=NEW_KINDS, default="", help="a kind that the embedded checkpoint does not know"
    )
    arguments = parser.parse_args()
    write_scenes(arguments.out, arguments.count, arguments.seed, arguments.spoilt, arguments.absent, arguments.new)


if __name__ == "__main__":
    main()
