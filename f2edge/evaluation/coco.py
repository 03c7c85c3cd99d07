"""Read the captions and instances files of COCO: captions, and object detection."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from f2edge.evaluation.files import Pictures, reading
from f2edge.evaluation.samples import Question, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from f2edge.evaluation.samples import Shape

Json = dict[str, Any]


def load_coco(files: Sequence[tuple[Path, Json]], root: Path) -> tuple[Sample, ...]:
    """Read COCO files, each of captions or of instances, about the same pictures.

    A picture without a box is asked for objects, too, as the metric of COCO demands; a picture without a caption is not
    asked for one.

    Raises:
        DatasetError: an entry lacks a key.
    """
    questions: defaultdict[str, list[Question]] = defaultdict(list)
    for path, data in files:
        with reading(path):
            for name, question in _captions(data) if is_captions(data) else _objects(data):
                questions[name].append(question)
    pictures = Pictures(root)
    return tuple(Sample(name, pictures.find(name), tuple(asked)) for name, asked in questions.items())


def is_captions(data: Json) -> bool:
    """Tell whether the annotations of a COCO file are captions."""
    return "caption" in data["annotations"][0]


def is_instances(data: Json) -> bool:
    """Tell whether the annotations of a COCO file are boxes with a category, and not key points of people."""
    return "bbox" in data["annotations"][0] and not data["annotations"][0].get("keypoints")


def xyxy(box: Sequence[float]) -> Shape:
    """Convert (x, y, width, height) of COCO to (x1, y1, x2, y2)."""
    x, y, width, height = map(float, box)
    return x, y, x + width, y + height


def by(key: str, entries: Iterable[Json]) -> Mapping[Any, list[Json]]:
    """Group entries by the value of one of their keys."""
    groups: defaultdict[Any, list[Json]] = defaultdict(list)
    for entry in entries:
        groups[entry[key]].append(entry)
    return groups


def _captions(data: Json) -> Iterable[tuple[str, Question]]:
    of = by("image_id", data["annotations"])
    for image in data["images"]:
        if captions := of.get(image["id"]):
            yield image["file_name"], Question("<CAPTION>", answers=tuple(one["caption"] for one in captions))


def _objects(data: Json) -> Iterable[tuple[str, Question]]:
    names = {category["id"]: category["name"] for category in data["categories"]}
    of = by("image_id", data["annotations"])
    for image in data["images"]:
        objects = of.get(image["id"], [])
        yield (
            image["file_name"],
            Question(
                "<OD>",
                labels=tuple(names[one["category_id"]] for one in objects),
                boxes=tuple(xyxy(one["bbox"]) for one in objects),
                crowd=tuple(bool(one.get("iscrowd")) for one in objects),
            ),
        )
