"""Pictures with their kept annotations as shards of WebDataset: tar files of a picture and a JSON file each."""

from __future__ import annotations

import io
import tarfile
from itertools import count, groupby
from typing import TYPE_CHECKING, Any

from f2edge.annotate.tables import read_records
from f2edge.json_text import json_text
from f2edge.result import plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from f2edge.annotate.directory import Directory
    from f2edge.annotate.records import Record
    from f2edge.annotate.sources import Pictures

_LISTS = {"text": "texts", "region": "regions", "phrase": "phrases"}
_FIELDS = ("task", "source", "text", "label", "box", "quad", "polygons", "confidence", "calibrated", "seen", "bundle")


def write_webdataset(run: Directory, pictures: Pictures, place: Path) -> None:
    """Write a tar file for each shard of a run, with the files of the pictures as they are.

    Raises:
        AnnotationError: a shard is damaged.
        OSError: a picture cannot be read, or a file cannot be written.
    """
    numbers, by_id = count(), {picture.id: picture for picture in pictures.pictures}
    for path in run.paths():
        with tarfile.open(place / f"{path.stem}.tar", "w") as tar:
            for image, group in groupby(read_records(path, kept=True), key=lambda one: one.image):
                key, picture = f"{next(numbers):09d}", by_id[image]
                _add(tar, key + picture.suffix, picture.read())
                _add(tar, f"{key}.json", json_text(plain(_sample(list(group)))).encode())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _sample(records: Sequence[Record]) -> dict[str, Any]:
    """Return what the JSON file of a picture has; fields that an annotation does not have are left out."""
    picture = records[0]
    sample: dict[str, Any] = {"id": picture.image, "width": picture.width, "height": picture.height}
    sample.update({name: [] for name in _LISTS.values()})
    for one in records:
        if one.kind in _LISTS:
            fields = {name: getattr(one, name) for name in _FIELDS}
            known = {name: value for name, value in fields.items() if value not in {None, ""}}
            sample[_LISTS[one.kind]].append({**known, "pass": one.passed})
    return sample
