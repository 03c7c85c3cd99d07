"""Kept objects of task "od" in the format of YOLO: a folder of pictures, one of labels, and ``data.yaml``."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING

from f2edge.annotate.linking import link, path_of
from f2edge.annotate.settings import OBJECTS
from f2edge.annotate.tables import read_records
from f2edge.errors import AnnotationError
from f2edge.tasks.table import short_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from f2edge.annotate.directory import Directory
    from f2edge.annotate.pictures import Picture
    from f2edge.annotate.records import Record
    from f2edge.annotate.sources import Pictures

_TASK = short_name(OBJECTS)


def write_yolo(run: Directory, pictures: Pictures, place: Path) -> None:
    """Write ``labels/`` with a text file for each picture, ``images/`` with links to the pictures, and ``data.yaml``.

    Raises:
        AnnotationError: the run has no task "od", two pictures have the same name but for the suffix, or a shard is
            damaged.
        OSError: a file cannot be written.
    """
    if _TASK not in run.description.tasks:
        raise AnnotationError(f"`formats` yolo needs task {_TASK}, which this run does not have; choose another format")
    places: dict[Path, str] = {}
    classes: dict[str, int] = {}
    by_id = {picture.id: picture for picture in pictures.pictures}
    for path in run.paths():
        for image, group in groupby(read_records(path, kept=True, tasks=("", _TASK)), key=lambda one: one.image):
            name = _name(by_id[image], places)
            _write_text(place / "labels" / name.with_suffix(".txt"), _lines(list(group), classes))
            link(by_id[image], place / "images" / name)
    names = "".join(f"  {number}: {json.dumps(name)}\n" for name, number in classes.items())
    head = "path: .\ntrain: images\nval: images\n"
    _write_text(
        place / "data.yaml", f"{head}nc: {len(classes)}\nnames:\n{names}" if names else f"{head}nc: 0\nnames: []\n"
    )


def _name(picture: Picture, places: dict[Path, str]) -> Path:
    """Return the path of a picture in the folders.

    Raises:
        AnnotationError: another picture has the same one but for the suffix.
    """
    name = path_of(picture)
    stem = name.with_suffix("")
    if stem in places:
        raise AnnotationError(f"{places[stem]} and {picture.id} would have the same labels in yolo; rename one of them")
    places[stem] = picture.id
    return name


def _lines(records: Sequence[Record], classes: dict[str, int]) -> str:
    """Write the objects of a picture: class, centre, width and height as shares of the picture's sides."""
    lines = []
    for one in records:
        if one.box is not None:
            x1, y1, x2, y2 = one.box
            values = (
                (x1 + x2) / 2 / one.width,
                (y1 + y2) / 2 / one.height,
                (x2 - x1) / one.width,
                (y2 - y1) / one.height,
            )
            number = classes.setdefault(one.label or "object", len(classes))
            lines.append(f"{number} {' '.join(f'{value:.7g}' for value in values)}\n")
    return "".join(lines)


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
