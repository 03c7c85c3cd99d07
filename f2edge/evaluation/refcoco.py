"""Read RefCOCO, RefCOCO+ and RefCOCOg: the box and the mask that an expression refers to (Yu et al., 2016).

gRefCOCO (Liu et al., 2023) has the same files.  An expression of several objects is asked for their mask; its metric of
boxes is none that f2edge computes.

The published ``refs(...).p`` is a pickle, which can run any code when it is opened, so it must be converted to JSON.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, TypeAlias

from f2edge.evaluation.coco import file_names, picture_sizes, xyxy
from f2edge.evaluation.fields import corners, entry, identifier, name, shapes, size, texts
from f2edge.evaluation.files import Pictures, numbered, read_jsonl, reading
from f2edge.evaluation.samples import Note, Question, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from f2edge.evaluation.coco import Id, Json, Size
    from f2edge.evaluation.samples import Loaded, Shape

Asked: TypeAlias = "tuple[str, list[Question]]"
"""Questions with the name of their picture."""

CONVERT = (
    "pickles are not opened, they can run any code; where you trust it, convert it first: "
    """python -c "import json, pickle; print(json.dumps([r for r in pickle.load(open('refs(unc).p', 'rb')) """
    """if r['split'] == 'val']))" > refs.json"""
)
_IMAGE, _EXPRESSION = ("image", "img_path"), ("sent", "expression")
_TRAINING = "train"
_NO_TARGET = -1  # what gRefCOCO writes for an expression that nothing in the picture fits


def is_refs(data: Any) -> bool:
    """Tell whether a JSON value is the list that the published pickles hold."""
    return (
        isinstance(data, list) and bool(data) and isinstance(data[0], dict) and {"ref_id", "sentences"} <= set(data[0])
    )


def is_expression(line: Any) -> bool:
    """Tell whether a line of JSONL is one expression with its box."""
    return isinstance(line, dict) and "bbox" in line and all(_first(line, keys) for keys in (_IMAGE, _EXPRESSION))


def load_refs(refs: tuple[Path, list[Json]], instances: tuple[Path, Json], root: Path) -> Loaded:
    """Read the published layout: refs as JSON, and the COCO instances file beside it.

    Each sentence is asked twice: for the box, and for the mask if it is made of polygons.  Refs of the split ``train``
    are left out if there are others.

    Raises:
        DatasetError: an entry lacks a key, or refers to an object that the instances do not have.
    """
    images, things, left_out = file_names(*instances), _things(*instances), Counter[tuple[str, str]]()
    asked = []
    for place, ref in _tested(*refs, left_out):
        with reading(place):
            targets = [_known(things, key, "annotation") for key in _targets(ref)]
            image = _known(images, identifier(ref, "image_id"), "image")
            asked.append((image, list(_referred(_sentences(ref), targets, left_out))))
    notes = tuple(Note("left out", thing, refs[0].name, why, count) for (thing, why), count in left_out.items())
    return _samples(asked, root, picture_sizes(*instances)), notes


def load_expressions(path: Path, root: Path) -> Loaded:
    """Read JSONL: ``{"image" or "img_path", "sent" or "expression", "bbox": [x1, y1, x2, y2]}`` in each line.

    Raises:
        DatasetError: a line lacks a key, or a value is of the wrong kind.
    """
    asked, sizes = [], {}
    for place, line in read_jsonl(path):
        with reading(place):
            box, sentences = corners(entry(line)["bbox"]), texts(line, _first(line, _EXPRESSION))
            image = name(line, _first(line, _IMAGE))
            sizes[image] = size(line)
            asked.append((image, [_box(sentence, box) for sentence in sentences]))
    return _samples(asked, root, sizes), ()


def _tested(path: Path, refs: Sequence[Json], left_out: Counter[tuple[str, str]]) -> Iterator[tuple[str, Json]]:
    """Yield the refs with their places, without those of the split ``train`` if there are others."""
    placed = list(numbered(path, "ref", refs))
    mixed = any(ref.get("split") != _TRAINING for _, ref in placed)
    for place, ref in placed:
        if mixed and ref.get("split") == _TRAINING:
            left_out["ref", "of the split train"] += 1
        else:
            yield place, ref


def _things(path: Path, data: Json) -> dict[Id, Json]:
    things = {}
    for place, thing in numbered(path, "annotation", data, "annotations"):
        with reading(place):
            things[identifier(thing, "id")] = thing
    return things


def _known(things: Mapping[Id, Any], key: Id, kind: str) -> Any:
    if key not in things:
        raise ValueError(f"no {kind} of the instances has the id {key}")
    return things[key]


def _targets(ref: Json) -> list[Id]:
    """Return the ids of the objects that a ref is about: one, or in gRefCOCO any number."""
    given = ref["ann_id"] if isinstance(ref["ann_id"], list) else [ref["ann_id"]]
    return [key for key in (identifier({"ann_id": one}, "ann_id") for one in given) if key != _NO_TARGET]


def _sentences(ref: Json) -> list[str]:
    given = ref["sentences"] if isinstance(ref["sentences"], list) else [ref["sentences"]]
    return [name({"sent": one} if isinstance(one, str) else entry(one), "sent") for one in given]


def _referred(sentences: list[str], targets: list[Json], left_out: Counter[tuple[str, str]]) -> Iterator[Question]:
    if not targets:
        left_out["expression", "nothing in the picture fits"] += len(sentences)
        return
    boxes, outlines = [xyxy(thing["bbox"]) for thing in targets], [_polygons(thing) for thing in targets]
    if len(boxes) == 1:
        yield from (_box(sentence, boxes[0]) for sentence in sentences)
    else:
        left_out["box question", "of several objects, which are asked for their mask only"] += len(sentences)
    if all(outlines):
        mask = tuple(polygon for polygons in outlines for polygon in polygons)
        yield from (Question("<REFERRING_EXPRESSION_SEGMENTATION>", text=one, polygons=mask) for one in sentences)
    else:
        left_out["mask question", "the mask is not made of polygons"] += len(sentences)


def _polygons(thing: Json) -> tuple[Shape, ...]:
    return shapes(thing, "segmentation") if isinstance(thing.get("segmentation"), list) else ()


def _box(sentence: str, box: Shape) -> Question:
    return Question("<OPEN_VOCABULARY_DETECTION>", text=sentence, boxes=(box,))


def _samples(asked: Iterable[Asked], root: Path, sizes: Mapping[str, Size]) -> tuple[Sample, ...]:
    """Make one sample per picture, in the order of their first mention."""
    questions: defaultdict[str, list[Question]] = defaultdict(list)
    for image, more in asked:
        questions[image] += more
    pictures = Pictures(root)
    kept = ((image, tuple(all_)) for image, all_ in questions.items() if all_)
    return tuple(Sample(image, pictures.find(image), all_, sizes.get(image)) for image, all_ in kept)


def _first(line: Json, keys: tuple[str, ...]) -> str:
    return next((key for key in keys if key in line), "")
