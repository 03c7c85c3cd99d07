"""Read the formats that people fine-tune with: JSONL of prefix and suffix, and folders with metadata of captions."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from f2edge.evaluation.fields import name, text, texts
from f2edge.evaluation.files import Pictures, read_jsonl, read_text, reading
from f2edge.evaluation.jsonl import check_question
from f2edge.evaluation.pictures import shown_size
from f2edge.evaluation.samples import Note, Question, Sample
from f2edge.tasks.parsers import find_instances
from f2edge.tasks.table import FREE_TEXT, TASKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from f2edge.evaluation.coco import Json
    from f2edge.evaluation.samples import Loaded
    from f2edge.tasks.table import Task

_IMAGE, _CAPTION = ("image", "file_name"), ("text", "caption")
_KINDS = ("boxes", "quads", "polygons")
_LOCATION = "<loc_"
_FOREIGN = re.compile(r"<loc\d")


def is_pairs(line: Any) -> bool:
    """Tell whether a line is a picture with a prefix and a suffix, which is the prompt and the answer."""
    return isinstance(line, dict) and {"prefix", "suffix"} <= set(line) and bool(_first(line, _IMAGE))


def is_metadata(line: Any) -> bool:
    """Tell whether a line is a picture with a caption, as in ``metadata.jsonl`` of an image folder."""
    return isinstance(line, dict) and bool(_first(line, _IMAGE)) and bool(_first(line, _CAPTION))


def load_pairs(path: Path, root: Path) -> Loaded:
    """Read ``{"image", "prefix", "suffix"}``; bins of locations become pixels of the picture.

    Raises:
        DatasetError: a line lacks a key, or its suffix is no answer to its prefix.
    """
    pictures, left_out = Pictures(root), {}
    questions: defaultdict[str, list[Question]] = defaultdict(list)
    for place, line in read_jsonl(path):
        with reading(place):
            image = name(line, _first(line, _IMAGE))
            size = shown_size(pictures.find(image)) if _LOCATION in text(line, "suffix") else (1, 1)
            if size:
                questions[image].append(_question(name(line, "prefix"), line["suffix"], size))
            else:
                left_out[image] = Note("left out", "picture", image, "is not there, or cannot be opened")
    samples = tuple(Sample(image, pictures.find(image), tuple(asked)) for image, asked in questions.items())
    return samples, tuple(left_out.values())


def load_metadata(path: Path, root: Path) -> Loaded:
    """Read captions of pictures; several lines about one picture are several references.

    Raises:
        DatasetError: a line lacks a key, or a value is of the wrong kind.
    """
    captions: defaultdict[str, list[str]] = defaultdict(list)
    for place, line in read_csv(path) if path.suffix == ".csv" else read_jsonl(path):
        with reading(place):
            captions[name(line, _first(line, _IMAGE))] += texts(line, _first(line, _CAPTION))
    pictures = Pictures(root)
    found = ((image, Question("<CAPTION>", answers=tuple(all_))) for image, all_ in captions.items() if all_)
    return tuple(Sample(image, pictures.find(image), (question,)) for image, question in found), ()


def read_csv(path: Path) -> Iterator[tuple[str, Json]]:
    """Yield the place, for errors, and the values of each line of a CSV file with a header."""
    with reading(path):
        table = csv.DictReader(io.StringIO(read_text(path)), strict=True)
        for number, line in enumerate(_rows(table), start=1):
            yield f"{path}, entry {number}", line


def _rows(table: Iterable[Json]) -> Iterator[Json]:
    try:
        yield from table
    except csv.Error as error:
        raise ValueError(error) from error


def _question(prefix: str, suffix: str, size: tuple[int, int]) -> Question:
    """Return the question of a pair; the same parsers read the suffix that read the answers of the model."""
    task, given = _asked(prefix)
    _check_locations(task, suffix)
    if not task.locates:
        return Question(task.name, text=given or None, answers=(suffix,))
    found = find_instances(task, suffix, size)
    shapes = [tuple(map(tuple, instance.shapes)) for instance in found]
    of = {kind: [s for s, one in zip(shapes, found, strict=True) if one.kind == kind] for kind in _KINDS}
    question = Question(
        task.name,
        text=given or None,
        labels=tuple(one.label for one in found),
        boxes=tuple(shape[0] for shape in of["boxes"]),
        quads=tuple(shape[0] for shape in of["quads"]),
        polygons=tuple(polygon for shape in of["polygons"] for polygon in shape),
    )
    check_question(question, () if suffix.strip() else ("boxes", "polygons"))
    return question


def _check_locations(task: Task, suffix: str) -> None:
    """Refuse a suffix that would be marked as something else than it is."""
    if _FOREIGN.search(suffix):
        raise ValueError("suffix has the locations of another model; those of Florence-2 are <loc_0> to <loc_999>")
    if not task.locates and _LOCATION in suffix:
        raise ValueError(f"suffix has locations, but {task.name or 'a prefix without a task'} is answered in words")
    if task.locates and suffix.strip() and _LOCATION not in suffix:
        raise ValueError(f"suffix has no location, but {task.name} is answered by them")


def _asked(prefix: str) -> tuple[Task, str]:
    """Return the task of a prefix, such as ``<OD>`` or its sentence, and the text after it."""
    for task in TASKS.values():
        if prefix.startswith(task.name):
            return task, prefix.removeprefix(task.name).strip()
        if prefix.strip() == task.prompt:
            return task, ""
    return FREE_TEXT, prefix


def _first(line: Json, keys: tuple[str, ...]) -> str:
    return next((key for key in keys if key in line), "")
