"""Read RefCOCO, RefCOCO+ and RefCOCOg: the box and the mask that an expression refers to (Yu et al., 2016).

The published ``refs(...).p`` is a pickle, which can run any code when it is opened, so it must be converted to JSON.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from f2edge.evaluation.coco import xyxy
from f2edge.evaluation.files import Pictures, read_jsonl, reading
from f2edge.evaluation.samples import Question, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from f2edge.evaluation.coco import Json

CONVERT = (
    "pickles are not opened, they can run any code; where you trust it, convert it first: "
    """python -c "import json, pickle; print(json.dumps([r for r in pickle.load(open('refs(unc).p', 'rb')) """
    """if r['split'] == 'val']))" > refs.json"""
)
_IMAGE, _EXPRESSION = ("image", "img_path"), ("sent", "expression")


def is_refs(data: Any) -> bool:
    """Tell whether a JSON value is the list that the published pickles hold."""
    return (
        isinstance(data, list) and bool(data) and isinstance(data[0], dict) and {"ref_id", "sentences"} <= set(data[0])
    )


def is_expression(line: Any) -> bool:
    """Tell whether a line of JSONL is one expression with its box."""
    return isinstance(line, dict) and "bbox" in line and all(_first(line, keys) for keys in (_IMAGE, _EXPRESSION))


def load_refs(refs: tuple[Path, list[Json]], instances: tuple[Path, Json], root: Path) -> tuple[Sample, ...]:
    """Read the published layout: refs as JSON, and the COCO instances file beside it.

    Each sentence is asked twice: for the box, and for the mask if it is made of polygons.

    Raises:
        DatasetError: an entry lacks a key, or refers to an object that the instances do not have.
    """
    with reading(instances[0]):
        names = {image["id"]: image["file_name"] for image in instances[1]["images"]}
        things = {thing["id"]: thing for thing in instances[1]["annotations"]}
    with reading(refs[0]):
        asked = [(names[ref["image_id"]], _referred(ref, things[ref["ann_id"]])) for ref in refs[1]]
    return _samples(asked, root)


def load_expressions(path: Path, root: Path) -> tuple[Sample, ...]:
    """Read JSONL: ``{"image" or "img_path", "sent" or "expression", "bbox": [x1, y1, x2, y2]}`` in each line.

    Raises:
        DatasetError: a line lacks a key.
    """
    asked = []
    for place, line in read_jsonl(path):
        with reading(place):
            x1, y1, x2, y2 = map(float, line["bbox"])
            question = Question(
                "<OPEN_VOCABULARY_DETECTION>", text=line[_first(line, _EXPRESSION)], boxes=((x1, y1, x2, y2),)
            )
            asked.append((line[_first(line, _IMAGE)], [question]))
    return _samples(asked, root)


def _referred(ref: Json, thing: Json) -> list[Question]:
    box, outline = xyxy(thing["bbox"]), thing.get("segmentation")
    polygons = tuple(tuple(map(float, polygon)) for polygon in outline) if isinstance(outline, list) else ()
    questions = []
    for sentence in ref["sentences"]:
        questions.append(Question("<OPEN_VOCABULARY_DETECTION>", text=sentence["sent"], boxes=(box,)))
        if polygons:
            questions.append(Question("<REFERRING_EXPRESSION_SEGMENTATION>", text=sentence["sent"], polygons=polygons))
    return questions


def _samples(asked: Iterable[tuple[str, list[Question]]], root: Path) -> tuple[Sample, ...]:
    """Make one sample per picture, in the order of their first mention."""
    questions: defaultdict[str, list[Question]] = defaultdict(list)
    for name, more in asked:
        questions[name] += more
    pictures = Pictures(root)
    return tuple(Sample(name, pictures.find(name), tuple(all_)) for name, all_ in questions.items())


def _first(line: Json, keys: tuple[str, ...]) -> str:
    return next((key for key in keys if key in line), "")
