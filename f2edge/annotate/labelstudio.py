"""Kept annotations as tasks of Label Studio, whose predictions a person corrects there."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import count, groupby
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote
from xml.etree import ElementTree as ET

from f2edge.annotate.coco import category, write_list
from f2edge.annotate.linking import link, path_of
from f2edge.annotate.settings import OBJECTS, SEGMENTATION, TEXTS
from f2edge.annotate.tables import read_records
from f2edge.errors import AnnotationError
from f2edge.tasks.table import short_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from f2edge.annotate.directory import Directory
    from f2edge.annotate.records import Record, Shape
    from f2edge.annotate.sources import Pictures

TASKS, CONFIG = "tasks.json", "config.xml"
_IMAGE = "image"
"""The name of the picture in the configuration, and of its address in a task."""
_LOCAL_FILES = "/data/local-files/?d="
"""The address under which Label Studio serves files of its own disk."""
_TEXTS = tuple(map(short_name, TEXTS))
_OUTLINED = ("ocr_with_region", short_name(SEGMENTATION))
"""The tasks whose shapes are polygons; those of all others are boxes."""
_WITHOUT_WORDS = (short_name(OBJECTS), "region_proposal")
"""The tasks whose regions have no words beside their category."""
_PERCENT = 100.0
_NOT_XML = re.compile(r"[^\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]+|\s+")
"""What an attribute in XML does not keep as it is."""


class _Kind(NamedTuple):
    """How Label Studio calls the shapes of a task, in results and in the configuration."""

    result: str
    tag: str


_BOXES, _POLYGONS = _Kind("rectanglelabels", "RectangleLabels"), _Kind("polygonlabels", "PolygonLabels")


def write_labelstudio(run: Directory, pictures: Pictures, place: Path) -> None:
    """Write ``tasks.json``, the ``config.xml`` of a project for them, and ``images/`` with links to the pictures.

    Raises:
        AnnotationError: two pictures have the same path in ``images/``, or a shard is damaged.
        OSError: a file cannot be written.
    """
    labels: dict[str, dict[str, None]] = defaultdict(dict)
    with (place / TASKS).open("w", encoding="utf-8") as file:
        write_list(file, _tasks(run, pictures, place / "images", labels))
        file.write("\n")
    config = ET.ElementTree(_config(run.description.tasks, labels))
    ET.indent(config)
    config.write(place / CONFIG, encoding="utf-8")


def _tasks(
    run: Directory, pictures: Pictures, images: Path, labels: dict[str, dict[str, None]]
) -> Iterator[dict[str, Any]]:
    """Yield a task for each picture that could be read, with its prediction; link to the picture, and note labels."""
    by_id = {picture.id: picture for picture in pictures.pictures}
    numbers, made_by = count(1), run.description.bundle
    for path in run.paths():
        for image, group in groupby(read_records(path, kept=True), key=lambda one: one.image):
            copy = images / path_of(by_id[image])
            if copy.exists() or copy.is_symlink():
                raise AnnotationError(f"{image} would have the same path in labelstudio as another; rename one of them")
            link(by_id[image], copy)
            address = _LOCAL_FILES + quote(copy.relative_to(images.parent).as_posix())
            prediction = _prediction(list(group), labels) | {
                "model_version": f"{made_by['name']} {made_by['sha256'][:8]}"
            }
            yield {"id": next(numbers), "data": {_IMAGE: address, "id": image}, "predictions": [prediction]}


def _prediction(records: Sequence[Record], labels: dict[str, dict[str, None]]) -> dict[str, Any]:
    numbers = count(1)
    results = [result for one in records if one.task for result in _results(one, numbers, labels)]
    sure = [one.confidence for one in records if one.confidence is not None]
    return {"result": results, **({"score": fmean(sure)} if sure else {})}


def _results(record: Record, numbers: Iterator[int], labels: dict[str, dict[str, None]]) -> Iterator[dict[str, Any]]:
    """Yield what a record is in Label Studio: a text, or for each of its shapes a region, and the words of it."""
    score = {} if record.confidence is None else {"score": record.confidence}
    if record.kind == "text":
        yield {"id": str(next(numbers)), **_named(record.task, "textarea"), "value": {"text": [record.text]}, **score}
        return
    kind, label = _kind(record.task), one_line(category(record))
    labels[record.task][label] = None
    size = {"original_width": record.width, "original_height": record.height, "image_rotation": 0}
    about = {"meta": {"text": [record.text]}} if record.text else {}
    for value in _values(record):
        common = {"id": str(next(numbers)), **size, **score}
        yield {**common, **_named(record.task, kind.result), "value": {**value, kind.result: [label]}, **about}
        if record.label and record.task not in _WITHOUT_WORDS:
            yield {**common, **_named(_words(record.task), "textarea"), "value": {**value, "text": [record.label]}}


def _named(name: str, kind: str) -> dict[str, str]:
    return {"from_name": name, "to_name": _IMAGE, "type": kind}


def _words(task: str) -> str:
    return f"{task}_words"


def _kind(task: str) -> _Kind:
    return _POLYGONS if task in _OUTLINED else _BOXES


def _values(record: Record) -> Iterator[dict[str, Any]]:
    """Yield the shapes of a record, in per cent of the sides of its picture."""
    x1, y1, x2, y2 = record.box or (0.0,) * 4
    if _kind(record.task) is _BOXES:
        (x, y), (right, bottom) = _points((x1, y1, x2, y2), record)
        yield {"x": x, "y": y, "width": right - x, "height": bottom - y, "rotation": 0}
        return
    for shape in record.polygons or [record.quad or (x1, y1, x2, y1, x2, y2, x1, y2)]:
        yield {"points": _points(shape, record), "closed": True}


def _points(shape: Shape, record: Record) -> list[list[float]]:
    """Return points x, y, x, y, ... in pixels as pairs in per cent."""
    pairs = zip(shape[::2], shape[1::2], strict=True)
    return [[_PERCENT * x / record.width, _PERCENT * y / record.height] for x, y in pairs]


def one_line(label: str) -> str:
    """Return a label as an attribute in XML keeps it: one space for white space and for characters XML has not."""
    return _NOT_XML.sub(" ", label).strip() or "object"


def _config(tasks: Sequence[str], labels: dict[str, dict[str, None]]) -> ET.Element:
    """Return the configuration of a project: the picture, and what each task is shown and corrected with."""
    view = ET.Element("View")
    ET.SubElement(view, "Image", name=_IMAGE, value=f"${_IMAGE}", zoom="true")
    for task in tasks:
        if task not in _TEXTS and not labels.get(task):
            continue  # Label Studio refuses a control without a label
        ET.SubElement(view, "Header", value=task)
        if task in _TEXTS:
            ET.SubElement(view, "TextArea", name=task, toName=_IMAGE, editable="true", maxSubmissions="1")
            continue
        control = ET.SubElement(view, _kind(task).tag, name=task, toName=_IMAGE)
        for label in labels[task]:
            ET.SubElement(control, "Label", value=label)
        if task not in _WITHOUT_WORDS:
            ET.SubElement(view, "TextArea", name=_words(task), toName=_IMAGE, perRegion="true", editable="true")
    return view
