"""Choosing the pictures to calibrate on."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from f2edge.errors import ImageError, InputError
from f2edge.image import load_image

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True)
class Selection:
    """Pictures that can be opened, in the order of their use, and those that had to be left out."""

    pictures: tuple[Path, ...]
    unreadable: tuple[Path, ...]


def select_pictures(directory: Path, count: int, seed: int = 0) -> Selection:
    """Choose up to ``count`` pictures at random from a directory and those below it.

    The choice depends on the files' names and the seed alone.  Unreadable pictures are left out and others taken.

    Raises:
        InputError: no such directory, or no readable picture in it.
    """
    if not directory.is_dir():
        raise InputError(f"{directory} is not a directory; give one with pictures to calibrate on")
    found = sorted(path for path in directory.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    random.Random(seed).shuffle(found)  # noqa: S311 - nothing to guess here
    chosen: list[Path] = []
    unreadable: list[Path] = []
    for path in found:
        if len(chosen) == count:
            break
        (chosen if _readable(path) else unreadable).append(path)
    if not chosen:
        raise InputError(f"{directory} holds no readable picture ({len(unreadable)} unreadable); add some JPEG or PNG")
    return Selection(tuple(chosen), tuple(unreadable))


def _readable(path: Path) -> bool:
    try:
        load_image(path)
    except ImageError:
        return False
    return True
