"""The pictures of a folder as frames."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from f2edge.errors import VideoError
from f2edge.image import load_image
from f2edge.paths import is_file
from f2edge.video.frame import Frame

if TYPE_CHECKING:
    from pathlib import Path


class FolderFrames:
    """An iterator over the pictures of a folder by their names, in which numbers count: ``9.png`` before ``10.png``.

    After a picture that cannot be read, it goes on with the next one.

    Args:
        folder: the folder; what is in its own folders is left out.

    Raises:
        VideoError: it cannot be read, or holds no pictures.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = _pictures(folder)
        self._next = 0

    def __iter__(self) -> FolderFrames:
        return self

    def __next__(self) -> Frame:
        if self._next == len(self._paths):
            raise StopIteration
        index, self._next = self._next, self._next + 1
        return Frame(np.array(load_image(self._paths[index])), index, None)


def _pictures(folder: Path) -> list[Path]:
    suffixes = Image.registered_extensions()
    try:
        paths = [path for path in folder.iterdir() if path.suffix.lower() in suffixes and is_file(path)]
    except OSError as error:
        raise VideoError(f"{folder} cannot be read: {error.strerror}") from error
    if not paths:
        raise VideoError(f"{folder} has no pictures: give a folder of picture files, or a video file")
    return sorted(paths, key=_order)


def _order(path: Path) -> tuple[list[tuple[str, int]], str]:
    """Return what a name is sorted by: pairs of a text and the number behind it."""
    pairs = re.findall(r"(\D*)(\d*)", path.name)
    return [(text, int(number or -1)) for text, number in pairs], path.name
