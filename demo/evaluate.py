"""How well a bundle answers about unseen scenes, measured through the product's own runtime.

Usage: ``python demo/evaluate.py BUNDLE [--count 500] [--seed 3000] [--device CPU] [--json]``
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Protocol

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from metrics import box_iou, edit_distance, mask_iou
from questions import ask
from scenes import make_scene
from shapes import COLOURS, KINDS

import f2edge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from PIL import Image
    from questions import Question

    from f2edge.result import Result

EVALUATION_SEED = 3000
_CATEGORIES = [f"{colour} {kind}" for colour, kind in product(COLOURS, KINDS)]


class Encoded(Protocol):
    """A picture that can be asked about."""

    def run(
        self, task: str, text: str | None = None, *, region: tuple[float, float, float, float] | None = None
    ) -> Result:
        """Answer one question."""


class Predictor(Protocol):
    """What is measured: ``f2edge.Florence2``, or anything that answers like it."""

    def encode(self, image: Image.Image) -> Encoded:
        """Take a picture in."""


@dataclass
class Answers:
    """What came back so far, ready to be averaged; one entry per question, or per phrase or quad.

    `distances` and `lengths` are characters, of a word and of what was read instead.
    """

    captions: list[bool] = field(default_factory=list)
    categories: list[bool] = field(default_factory=list)
    phrases: list[bool] = field(default_factory=list)
    masks: list[float] = field(default_factory=list)
    quads: list[float] = field(default_factory=list)
    distances: dict[str, list[int]] = field(default_factory=lambda: {"OCR": [], "OCR_WITH_REGION": []})
    lengths: list[int] = field(default_factory=list)
    truth: list[tuple[int, str, Sequence[float], float]] = field(default_factory=list)
    found: list[tuple[int, str, Sequence[float], float]] = field(default_factory=list)

    def add(self, picture: int, size: tuple[int, int], question: Question, result: Result) -> None:
        """Score one answer; `size` is (width, height) of the picture."""
        if question.task == "CAPTION":
            self.captions.append(_plain(result) == question.answer)
        elif question.task == "REGION_TO_CATEGORY":
            self.categories.append(_plain(result) == question.answer)
        elif question.task == "OD":
            self._add_detections(picture, question, result)
        elif question.task == "CAPTION_TO_PHRASE_GROUNDING":
            self._add_phrases(question, result)
        elif question.task == "REFERRING_EXPRESSION_SEGMENTATION":
            polygon = result.polygons[0][0] if result.polygons else ()
            self.masks.append(mask_iou(polygon, question.polygons[0], size))
        else:
            self._add_reading(question, result)

    def _add_detections(self, picture: int, question: Question, result: Result) -> None:
        for label, wanted in zip(question.labels, question.boxes, strict=True):
            self.truth.append((picture, label, wanted, 1.0))
        for label, box, score in zip(result.labels, result.boxes, result.confidences, strict=True):
            self.found.append((picture, label, box, score))

    def _add_phrases(self, question: Question, result: Result) -> None:
        """A phrase is found if the first box with its label fits."""
        first = dict(zip(reversed(result.labels), reversed(result.boxes), strict=True))
        for label, wanted in zip(question.labels, question.boxes, strict=True):
            self.phrases.append(box_iou(first.get(label, ()), wanted) >= 0.5)

    def _add_reading(self, question: Question, result: Result) -> None:
        """Text where there is none counts as insertions, since a picture without a word adds no length."""
        wanted = question.labels[0] if question.quads else question.answer
        read = _plain(result) if question.task == "OCR" else " ".join(result.labels)
        self.distances[question.task].append(edit_distance(wanted, read))
        if question.task == "OCR":
            self.lengths.append(len(wanted))
        for quad in question.quads:
            self.quads.append(box_iou(_hull(result.quads[0] if result.quads else ()), _hull(quad)))

    def scores(self) -> dict[str, float]:
        """All measures, between 0 and 1; the error rates may exceed 1."""
        errors = {task: sum(values) / max(sum(self.lengths), 1) for task, values in self.distances.items()}
        return {
            "caption_exact": float(np.mean(self.captions)),
            "od_map50": mean_average_precision(self.truth, self.found),
            "grounding_recall1": float(np.mean(self.phrases)),
            "segmentation_miou": float(np.mean(self.masks)),
            "category_accuracy": float(np.mean(self.categories)),
            "ocr_cer": errors["OCR"],
            "ocr_region_cer": errors["OCR_WITH_REGION"],
            "ocr_region_iou": float(np.mean(self.quads)) if self.quads else 0.0,
        }


def evaluate(predictor: Predictor, count: int, seed: int) -> dict[str, float]:
    """Ask all questions on scenes 0 to `count` - 1 of a seed, one picture after the other."""
    answers = Answers()
    for index in range(count):
        scene = make_scene(seed, index)
        encoded = predictor.encode(scene.image)
        for question in ask(scene, np.random.default_rng([seed, index, 1])):
            text = question.text if question.text and question.region is None else None
            result = encoded.run(question.task, text, region=question.region)
            answers.add(index, scene.image.size, question, result)
    return answers.scores()


def mean_average_precision(
    truth: Sequence[tuple[int, str, Sequence[float], float]],
    found: Sequence[tuple[int, str, Sequence[float], float]],
) -> float:
    """COCO's mean average precision at IoU 0.5; an entry is (picture, label, box, score).

    The categories are the pairs of colour and kind; a label that is none of them has no place in the measure.
    """
    detections = [_coco_box(*entry) for entry in found if entry[1] in _CATEGORIES]
    if not detections:
        return 0.0
    pictures = sorted({entry[0] for entry in truth})
    ground_truth = COCO(
        {
            "info": {},
            "images": [{"id": picture + 1} for picture in pictures],
            "categories": [{"id": k + 1, "name": name} for k, name in enumerate(_CATEGORIES)],
            "annotations": [_coco_box(*entry) | {"id": k + 1} for k, entry in enumerate(truth)],
        }
    )
    measure = COCOeval_faster(ground_truth, ground_truth.loadRes(detections), "bbox")
    measure.run()
    return float(measure.stats_as_dict["AP_50"])


def _coco_box(picture: int, label: str, box: Sequence[float], score: float) -> dict[str, object]:
    x1, y1, x2, y2 = box
    width, height = max(x2 - x1, 0.0), max(y2 - y1, 0.0)
    place = {"image_id": picture + 1, "category_id": _CATEGORIES.index(label) + 1, "iscrowd": 0}
    return place | {"bbox": [x1, y1, width, height], "area": width * height, "score": score}


def _plain(result: Result) -> str:
    return str(next(iter(result.answer.values()))).strip()


def _hull(quad: Sequence[float]) -> tuple[float, ...]:
    """The upright box around a quad."""
    return (min(quad[::2]), min(quad[1::2]), max(quad[::2]), max(quad[1::2])) if quad else ()


def report(scores: Mapping[str, float]) -> str:
    """One line for each measure."""
    return "\n".join(f"{name:20s}{value:8.3f}" for name, value in scores.items())


def main() -> int:
    """Command line: BUNDLE [--count N] [--seed S] [--device D] [--json]."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=EVALUATION_SEED)
    parser.add_argument("--device")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        model = f2edge.load(arguments.bundle, arguments.device)
    except f2edge.F2EdgeError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    scores = evaluate(model, arguments.count, arguments.seed)
    print(json.dumps(scores) if arguments.json else report(scores))
    return 0


if __name__ == "__main__":
    sys.exit(main())
