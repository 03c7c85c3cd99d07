"""Kept annotations in the format of COCO: captions of each task of texts, instances of each of the others."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from f2edge.annotate.settings import TEXTS
from f2edge.annotate.tables import read_records
from f2edge.json_text import json_text
from f2edge.result import plain
from f2edge.tasks.table import short_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import TextIO

    from f2edge.annotate.directory import Directory
    from f2edge.annotate.records import Record, Shape
    from f2edge.annotate.sources import Pictures

_TEXTS = tuple(map(short_name, TEXTS))
_CATEGORIES = {"ocr_with_region": "text", "od": None}
"""The category of all regions of a task, None for the label of each; "object" for tasks that are not here."""
_WORDS = {"ocr_with_region": "utf8_string", "od": None, "region_proposal": None}
"""The field that has the label, None for none; "caption" for tasks that are not here."""


def write_coco(run: Directory, _pictures: Pictures, place: Path) -> None:
    """Write ``captions_TASK.json`` or ``instances_TASK.json`` for each task of a run into a directory.

    Raises:
        AnnotationError: a shard is damaged.
        OSError: a file cannot be written.
    """
    ids = {image: number for number, image in enumerate((one.image for one in _images(run)), 1)}
    for task in run.description.tasks:
        kind = "captions" if task in _TEXTS else "instances"
        with (place / f"{kind}_{task}.json").open("w", encoding="utf-8") as file:
            _write(file, run, task, ids)


def category(record: Record) -> str:
    """Return the category of a region or phrase; tasks whose labels are free words have one for all."""
    return _CATEGORIES.get(record.task, "object") or record.label or "object"


def _write(file: TextIO, run: Directory, task: str, ids: Mapping[str, int]) -> None:
    """Write one file shard after shard, so that a large run needs little more memory than a small one."""
    categories: dict[str, int] = {}
    numbers = count(1)
    records = (one for path in run.paths() for one in read_records(path, kept=True, tasks=(task,)))
    annotations = ({"id": next(numbers), "image_id": ids[one.image], **_entry(one, categories)} for one in records)
    file.write(f'{{"info": {{"description": "f2edge annotate, task {task}"}}, "licenses": [], "images": ')
    write_list(file, (_image(one, ids) for one in _images(run)))
    file.write(', "annotations": ')
    write_list(file, annotations)
    named = [{"id": number, "name": name, "supercategory": ""} for name, number in categories.items()]
    file.write("}\n" if task in _TEXTS else f', "categories": {json_text(named)}}}\n')


def write_list(file: TextIO, values: Iterable[Any]) -> None:
    """Write values as a list in JSON, one a line; only one of them is in memory at a time."""
    file.write("[")
    file.writelines(f"{',' if index else ''}\n{json_text(plain(value))}" for index, value in enumerate(values))
    file.write("]")


def _images(run: Directory) -> Iterator[Record]:
    """Yield the record of each picture that could be read."""
    return (one for path in run.paths() for one in read_records(path, kept=True, tasks=("",)))


def _image(record: Record, ids: Mapping[str, int]) -> dict[str, Any]:
    size = {"width": record.width, "height": record.height}
    return {"id": ids[record.image], "file_name": record.image, **size}


def _entry(record: Record, categories: dict[str, int]) -> dict[str, Any]:
    """Return the fields of an annotation but its ids; a category that is new gets the next number."""
    if record.kind == "text":
        return {"caption": record.text, "score": record.confidence}
    number = categories.setdefault(category(record), len(categories) + 1)
    x1, y1, x2, y2 = record.box or (0.0,) * 4
    outlines = record.polygons or ([record.quad] if record.quad else [])
    area = sum(map(_area, outlines)) if outlines else (x2 - x1) * (y2 - y1)
    shape = {"bbox": (x1, y1, x2 - x1, y2 - y1), "area": area, "segmentation": outlines, "iscrowd": 0}
    words = {} if (field := _WORDS.get(record.task, "caption")) is None else {field: record.label}
    text = {"text": record.text} if record.kind == "phrase" else {}
    return {"category_id": number, **shape, "score": record.confidence, **words, **text}


def _area(outline: Shape) -> float:
    """Return the area of a polygon x, y, x, y, ... whose sides do not cross."""
    xs, ys = outline[::2], outline[1::2]
    pairs = zip(xs, ys, (*xs[1:], xs[0]), (*ys[1:], ys[0]), strict=True)
    return abs(sum(x * after_y - after_x * y for x, y, after_x, after_y in pairs)) / 2
