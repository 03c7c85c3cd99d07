"""The demo's questions about a scene, and the true answers in Florence-2's words and location tokens.

The answers respect the ban on repeated trigrams (no_repeat_ngram_size 3): a caption lists
three shapes at most, by different conjunctions, and no two shapes of a scene share colour and kind.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from f2edge.tasks.location import location_text, to_bins
from f2edge.tasks.table import build_prompt, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scenes import Box, Scene, Shape


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


def ask(scene: Scene, rng: np.random.Generator) -> list[Question]:
    """Return all questions about a scene; `rng` picks the shapes that phrases and regions refer to."""
    questions = [_caption(scene), _detection(scene), _grounding(scene, rng)]
    questions += [_segmentation(scene, rng), _category(scene, rng)]
    return [*questions, _text(scene), _text_regions(scene)]


def describe(scene: Scene, seed: int, index: int) -> dict[str, object]:
    """Return the truth of a scene as plain data: its shapes, its word and its questions."""
    questions = ask(scene, np.random.default_rng([seed, index, 1]))
    return {
        "shapes": [asdict(shape) for shape in scene.shapes],
        "word": scene.word.text if scene.word else "",
        "questions": [asdict(q) | {"prompt": q.prompt} for q in questions],
    }


def _listing(names: Sequence[str]) -> str:
    """Return `a`, `a and b`, or `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _caption(scene: Scene) -> Question:
    caption = "a " + _listing([f"{s.size} {s.name}" for s in scene.shapes])
    if scene.word:
        caption += f" with the word {scene.word.text}"
    return Question("CAPTION", "", caption)


def _boxed(shapes: Sequence[Shape], size: tuple[int, int]) -> str:
    return "".join(s.name + locations(s.box, size) for s in shapes)


def _detection(scene: Scene) -> Question:
    names, boxes = [s.name for s in scene.shapes], [s.box for s in scene.shapes]
    return Question("OD", "", _boxed(scene.shapes, scene.image.size), names, boxes)


def _grounding(scene: Scene, rng: np.random.Generator) -> Question:
    """Return a grounding question: its caption names some shapes in any order, and the answer has that order."""
    count = int(rng.integers(1, len(scene.shapes) + 1))
    chosen = [scene.shapes[k] for k in rng.permutation(len(scene.shapes))[:count]]
    names = [s.name for s in chosen]
    text, answer = _listing([f"a {name}" for name in names]), _boxed(chosen, scene.image.size)
    return Question("CAPTION_TO_PHRASE_GROUNDING", text, answer, names, [s.box for s in chosen])


def _segmentation(scene: Scene, rng: np.random.Generator) -> Question:
    shape = scene.shapes[rng.integers(len(scene.shapes))]
    text = str(rng.choice(["the ", "a ", ""])) + shape.name
    answer = locations([v for point in shape.polygon() for v in point], scene.image.size)
    truth = [v for point in shape.polygon(circle_points=48) for v in point]
    return Question("REFERRING_EXPRESSION_SEGMENTATION", text, answer, [shape.name], [shape.box], [truth])


def _category(scene: Scene, rng: np.random.Generator) -> Question:
    shape = scene.shapes[rng.integers(len(scene.shapes))]
    text = locations(shape.box, scene.image.size)
    return Question("REGION_TO_CATEGORY", text, shape.name, [shape.name], region=shape.box)


def _text(scene: Scene) -> Question:
    return Question("OCR", "", scene.word.text if scene.word else "")


def _text_regions(scene: Scene) -> Question:
    if scene.word is None:
        return Question("OCR_WITH_REGION", "", "")
    x1, y1, x2, y2 = scene.word.box
    quad = [x1, y1, x2, y1, x2, y2, x1, y2]
    answer = scene.word.text + locations(quad, scene.image.size)
    return Question("OCR_WITH_REGION", "", answer, [scene.word.text], quads=[quad])
