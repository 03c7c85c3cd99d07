"""Read the captions and instances files of COCO: captions, and object detection."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, TypeAlias

from f2edge.errors import DatasetError
from f2edge.evaluation.fields import flag, identifier, name, shape, size, text
from f2edge.evaluation.files import Pictures, numbered, reading
from f2edge.evaluation.samples import Note, Question, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from f2edge.evaluation.samples import Loaded, Shape

Json: TypeAlias = "dict[str, Any]"
Id: TypeAlias = "int | str"
Size: TypeAlias = "tuple[int, int] | None"
Placed: TypeAlias = "tuple[str, Json]"
"""An entry of a file, with its place for errors."""

_BOX = 4


def load_coco(files: Iterable[tuple[Path, Json]], root: Path) -> Loaded:
    """Read COCO files, each of captions or of instances, about the same pictures.

    A picture without a box is asked for objects, too, as the metric of COCO demands; a picture without a caption is not
    asked for one.

    Raises:
        DatasetError: an entry lacks a key, or a value is of the wrong kind.
    """
    questions: defaultdict[str, list[Question]] = defaultdict(list)
    sizes: dict[str, Size] = {}
    notes: list[Note] = []
    for path, data in files:
        images = file_names(path, data)
        sizes |= picture_sizes(path, data)
        of, left_out = _by_picture(path, data, images)
        for key, asked in (_captions(of) if is_captions(data) else _objects(path, data, of, images)).items():
            questions[images[key]].append(asked)
        notes += left_out
    pictures = Pictures(root)
    samples = (
        Sample(image, pictures.find(image), tuple(asked), sizes.get(image)) for image, asked in questions.items()
    )
    return tuple(samples), tuple(notes)


def is_captions(data: Json) -> bool:
    """Tell whether the annotations of a COCO file are captions."""
    return "caption" in data["annotations"][0]


def is_instances(data: Json) -> bool:
    """Tell whether the annotations of a COCO file are boxes with a category, and not key points of people."""
    return "bbox" in data["annotations"][0] and not data["annotations"][0].get("keypoints")


def xyxy(box: Any) -> Shape:
    """Convert (x, y, width, height) of COCO to (x1, y1, x2, y2)."""
    x, y, width, height = shape(box, _BOX)
    return x, y, x + width, y + height


def file_names(path: Path, data: Json) -> dict[Id, str]:
    """Return the names of the picture files by the ids of the pictures."""
    names = {}
    for place, image in numbered(path, "image", data, "images"):
        with reading(place):
            names[identifier(image, "id")] = name(image, "file_name")
    return names


def picture_sizes(path: Path, data: Json) -> dict[str, Size]:
    """Return (width, height) of the annotated pictures by the names of their files; None where it is not said."""
    sizes = {}
    for place, image in numbered(path, "image", data, "images"):
        with reading(place):
            sizes[name(image, "file_name")] = size(image)
    return sizes


def _by_picture(path: Path, data: Json, images: Mapping[Id, str]) -> tuple[Mapping[Id, list[Placed]], Sequence[Note]]:
    """Group the annotations by the id of their picture; leave out those of pictures that the file does not list."""
    groups: defaultdict[Id, list[Placed]] = defaultdict(list)
    for place, annotation in numbered(path, "annotation", data, "annotations"):
        with reading(place):
            groups[identifier(annotation, "image_id")].append((place, annotation))
    strange = sum(len(groups.pop(key)) for key in groups.keys() - images.keys())
    if not groups:
        raise DatasetError(
            f"{path}: no annotation is of a picture of the file; compare image_id with the ids of images"
        )
    note = Note("left out", "annotation", path.name, "of pictures that it does not list", strange)
    return groups, [note] if strange else []


def _captions(of: Mapping[Id, Sequence[Placed]]) -> dict[Id, Question]:
    return {key: Question("<CAPTION>", answers=tuple(map(_caption, placed))) for key, placed in of.items()}


def _caption(placed: Placed) -> str:
    place, annotation = placed
    with reading(place):
        return text(annotation, "caption")


def _objects(path: Path, data: Json, of: Mapping[Id, Sequence[Placed]], images: Iterable[Id]) -> dict[Id, Question]:
    labels = _categories(path, data)
    return {key: _detection([_object(placed, labels) for placed in of.get(key, ())]) for key in images}


def _categories(path: Path, data: Json) -> dict[Id, str]:
    names = {}
    for place, category in numbered(path, "category", data, "categories"):
        with reading(place):
            names[identifier(category, "id")] = name(category, "name")
    return names


def _object(placed: Placed, labels: Mapping[Id, str]) -> tuple[str, Shape, bool]:
    place, annotation = placed
    with reading(place):
        category = identifier(annotation, "category_id")
        if category not in labels:
            raise ValueError(f"no category has the id {category}")
        return labels[category], xyxy(annotation["bbox"]), flag(annotation, "iscrowd")


def _detection(objects: Sequence[tuple[str, Shape, bool]]) -> Question:
    labels, boxes, crowd = zip(*objects, strict=True) if objects else ((), (), ())
    return Question("<OD>", labels=labels, boxes=boxes, crowd=crowd)
