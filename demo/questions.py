"""The demo's questions about a scene, one of each task, and the true answers in Florence-2's words and locations.

The answers respect the ban on repeated trigrams (no_repeat_ngram_size 3), as captions.py explains.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import product
from typing import TYPE_CHECKING

import captions
import numpy as np
from shapes import COLOURS, KINDS

from f2edge.tasks.location import location_text, to_bins
from f2edge.tasks.table import build_prompt, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placing import Box, Shape
    from scenes import Scene

LEAST_ABSENT_SHARE = 0.3
"""The share of open-vocabulary questions about what is not there; a detector must be able to refuse."""


@dataclass(frozen=True)
class Question:
    """One task about one picture: its text input, the true answer, and the same truth as data in pixels."""

    task: str
    text: str
    answer: str
    labels: list[str] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    polygons: list[list[float]] = field(default_factory=list)
    quads: list[list[float]] = field(default_factory=list)
    region: Box | None = None

    @property
    def prompt(self) -> str:
        """The prompt that the model reads (docs/florence2.md#task-prompts)."""
        return build_prompt(resolve(self.task), self.text or None)


def locations(values: Sequence[float], size: tuple[int, int]) -> str:
    """Return the location tokens of x, y, x, y, ... in pixels of a picture of `size` (width, height)."""
    return location_text(to_bins(values, size))


def ask(scene: Scene, rng: np.random.Generator, absent: float = 0.0) -> list[Question]:
    """Return one question of each task about a scene, in the order of the training's TASKS.

    Args:
        scene: the scene.
        rng: picks the shapes that phrases and regions refer to.
        absent: the share of phrases that name what is not there; at least 0.3 in open-vocabulary detection.
    """
    questions = [_texts(scene), _detection(scene), _grounding(scene, rng, absent)]
    questions += [_segmentation(scene, rng, absent), _category(scene, rng)]
    questions += [_reading(scene), _reading_with_regions(scene)]
    questions += [_texts(scene, "DETAILED_CAPTION"), _texts(scene, "MORE_DETAILED_CAPTION")]
    questions += [_dense_captions(scene), _proposals(scene)]
    questions += [_open_vocabulary(scene, rng, max(absent, LEAST_ABSENT_SHARE)), _description(scene, rng)]
    return [*questions, _region_mask(scene, rng), _region_text(scene, rng)]


def describe(scene: Scene, seed: int, index: int, absent: float = 0.0) -> dict[str, object]:
    """Return the truth of a scene as plain data: its shapes, its word and its questions."""
    questions = ask(scene, np.random.default_rng([seed, index, 1]), absent)
    return {
        "shapes": [asdict(shape) for shape in scene.shapes],
        "word": scene.word.text if scene.word else "",
        "questions": [asdict(q) | {"prompt": q.prompt} for q in questions],
    }


_CAPTIONS = {
    "CAPTION": captions.brief,
    "DETAILED_CAPTION": captions.detailed,
    "MORE_DETAILED_CAPTION": captions.more_detailed,
}


def _texts(scene: Scene, task: str = "CAPTION") -> Question:
    return Question(task, "", _CAPTIONS[task](scene))


def _boxed(labels: Sequence[str], boxes: Sequence[Box], scene: Scene) -> str:
    return "".join(label + locations(box, scene.image.size) for label, box in zip(labels, boxes, strict=True))


def _detection(scene: Scene) -> Question:
    names, boxes = [s.name for s in scene.shapes], [s.box for s in scene.shapes]
    return Question("OD", "", _boxed(names, boxes, scene), names, boxes)


def _dense_captions(scene: Scene) -> Question:
    names, boxes = [captions.described(s) for s in scene.shapes], [s.box for s in scene.shapes]
    return Question("DENSE_REGION_CAPTION", "", _boxed(names, boxes, scene), names, boxes)


def _proposals(scene: Scene) -> Question:
    """Return boxes without names: those of the shapes from left to right, then that of the word."""
    boxes = [s.box for s in scene.shapes] + ([scene.word.box] if scene.word else [])
    return Question("REGION_PROPOSAL", "", _boxed([""] * len(boxes), boxes, scene), boxes=boxes)


def _grounding(scene: Scene, rng: np.random.Generator, absent: float) -> Question:
    """Return a caption that names some shapes in any order, and perhaps an absent one, which the answer leaves out."""
    count = int(rng.integers(1, min(len(scene.shapes), 3) + 1))
    chosen = [scene.shapes[k] for k in rng.permutation(len(scene.shapes))[:count]]
    names = [s.name for s in chosen]
    named = list(names)
    if rng.random() < absent:
        named.insert(int(rng.integers(count + 1)), _absent_name(scene, rng))
    text = captions.listing([f"a {name}" for name in named])
    boxes = [s.box for s in chosen]
    return Question("CAPTION_TO_PHRASE_GROUNDING", text, _boxed(names, boxes, scene), names, boxes)


def _absent_name(scene: Scene, rng: np.random.Generator) -> str:
    """Return the name of no shape of the scene; half of the time its colour or its kind is there."""
    names = {s.name for s in scene.shapes}
    kinds = (*KINDS, scene.new) if scene.new else KINDS
    others = [name for name in map(" ".join, product(COLOURS, kinds)) if name not in names]
    words = {word for name in names for word in name.split()}
    close = [name for name in others if words & set(name.split())]
    return str(rng.choice(close if rng.random() < 0.5 else others))


def _open_vocabulary(scene: Scene, rng: np.random.Generator, absent: float) -> Question:
    """Return a question about one name, about all shapes of a kind or of a colour, or about what is not there."""
    form = rng.choice(["name", "kind", "colour"], p=[0.5, 0.25, 0.25])
    shape = _any_of(scene, rng)
    name = _absent_name(scene, rng) if rng.random() < absent else shape.name
    colour, kind = name.split()
    text = {"name": name, "kind": kind, "colour": f"{colour} shape"}[form]
    boxes = [s.box for s in scene.shapes if text in (s.name, s.kind, f"{s.colour} shape")]
    answer = text + "".join(locations(box, scene.image.size) for box in boxes) if boxes else ""
    return Question("OPEN_VOCABULARY_DETECTION", text, answer, [text] * len(boxes), boxes)


def _any_of(scene: Scene, rng: np.random.Generator) -> Shape:
    return scene.shapes[rng.integers(len(scene.shapes))]


def _segmentation(scene: Scene, rng: np.random.Generator, absent: float) -> Question:
    shape = _any_of(scene, rng)
    article = str(rng.choice(["the ", "a ", ""]))
    if rng.random() < absent:
        return Question("REFERRING_EXPRESSION_SEGMENTATION", article + _absent_name(scene, rng), "")
    return _mask("REFERRING_EXPRESSION_SEGMENTATION", article + shape.name, shape, scene)


def _region_mask(scene: Scene, rng: np.random.Generator) -> Question:
    shape = _any_of(scene, rng)
    text = locations(shape.box, scene.image.size)
    return _mask("REGION_TO_SEGMENTATION", text, shape, scene, region=shape.box)


def _mask(task: str, text: str, shape: Shape, scene: Scene, region: Box | None = None) -> Question:
    answer = locations([v for point in shape.polygon() for v in point], scene.image.size)
    truth = [v for point in shape.polygon(circle_points=48) for v in point]
    return Question(task, text, answer, [shape.name], [shape.box], [truth], region=region)


def _category(scene: Scene, rng: np.random.Generator) -> Question:
    shape = _any_of(scene, rng)
    text = locations(shape.box, scene.image.size)
    return Question("REGION_TO_CATEGORY", text, shape.name, [shape.name], region=shape.box)


def _description(scene: Scene, rng: np.random.Generator) -> Question:
    shape = _any_of(scene, rng)
    text, answer = locations(shape.box, scene.image.size), "a " + captions.placed(shape, scene.image.size)
    return Question("REGION_TO_DESCRIPTION", text, answer, region=shape.box)


def _region_text(scene: Scene, rng: np.random.Generator) -> Question:
    """Return a question about the word's region, or now and then about a shape's, in which there is no text."""
    if scene.word is not None and rng.random() < 0.8:
        region, answer = scene.word.box, scene.word.text
    else:
        region, answer = _any_of(scene, rng).box, ""
    return Question("REGION_TO_OCR", locations(region, scene.image.size), answer, region=region)


def _reading(scene: Scene) -> Question:
    return Question("OCR", "", scene.word.text if scene.word else "")


def _reading_with_regions(scene: Scene) -> Question:
    if scene.word is None:
        return Question("OCR_WITH_REGION", "", "")
    x1, y1, x2, y2 = scene.word.box
    quad = [x1, y1, x2, y1, x2, y2, x1, y2]
    answer = scene.word.text + locations(quad, scene.image.size)
    return Question("OCR_WITH_REGION", "", answer, [scene.word.text], quads=[quad])
