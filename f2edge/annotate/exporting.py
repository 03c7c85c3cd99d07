"""Write the kept annotations of a finished run in the formats of other tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from f2edge.annotate.coco import write_coco
from f2edge.annotate.files import whole_directory
from f2edge.annotate.labelstudio import write_labelstudio
from f2edge.annotate.tars import write_webdataset
from f2edge.annotate.yolo import write_yolo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from f2edge.annotate.directory import Directory
    from f2edge.annotate.sources import Pictures

    Writer: TypeAlias = Callable[[Directory, Pictures, Path], None]

WRITERS: dict[str, Writer] = {
    "coco": write_coco,
    "yolo": write_yolo,
    "webdataset": write_webdataset,
    "labelstudio": write_labelstudio,
}
"""What writes each format into a directory of its name."""


def export(run: Directory, pictures: Pictures, name: str) -> None:
    """Write a format into the directory of its name in that of the run, in place of one that is there.

    Raises:
        AnnotationError: the run has not what the format needs, or a shard is damaged.
        OSError: a file cannot be written; a directory that was there stays.
    """
    with whole_directory(run.place / name) as place:
        WRITERS[name](run, pictures, place)
