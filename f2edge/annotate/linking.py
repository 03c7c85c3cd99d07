"""The pictures of a run beside their annotations, for formats that want them there."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from f2edge.annotate.pictures import SUFFIXES

if TYPE_CHECKING:
    from f2edge.annotate.pictures import Picture


def path_of(picture: Picture) -> Path:
    """Return the path of a picture in a folder of pictures: its id, without what leads out of it, with a suffix."""
    parts = [part for part in PurePosixPath(picture.id.replace("://", "/", 1)).parts if part not in ("/", "..", ".")]
    path = Path(*parts)
    return path if path.suffix.lower() in SUFFIXES else path.with_name(path.name + picture.suffix)


def link(picture: Picture, place: Path) -> None:
    """Link to a picture, or copy it out of its archive and where the system has no links.

    Raises:
        OSError: the picture cannot be read, or the copy cannot be written.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(picture.path, Path) and picture.is_file:
        with suppress(OSError, NotImplementedError):
            place.symlink_to(picture.path.absolute())
            return
    place.write_bytes(picture.read())
