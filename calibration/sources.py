"""Choose the pictures to calibrate on, with the questions of a data set if it has some."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from f2edge.errors import ImageError, InputError, NoDatasetError
from f2edge.evaluation import Sample, open_dataset
from f2edge.image import load_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True)
class Selection:
    """The pictures to calibrate on, in the order of their use, and the names of those that cannot be opened.

    A sample of a plain folder has no questions.
    """

    samples: tuple[Sample, ...]
    unreadable: tuple[str, ...]


def select_samples(source: Path, count: int, seed: int = 0) -> Selection:
    """Choose up to ``count`` pictures at random from a folder, or from a data set that ``f2edge eval`` reads.

    The choice depends on the pictures' names and the seed alone.  Unreadable pictures are left out and others taken.

    Args:
        source: a folder of pictures and those below it; or a data set's folder or file (COCO, JSONL, ...).
        count: the most pictures.
        seed: the seed of the choice.

    Raises:
        InputError: the source is not there, or has no readable picture.
        DatasetError: the files of a data set are damaged.
    """
    samples = sorted(_samples(source), key=lambda sample: sample.name)
    random.Random(seed).shuffle(samples)  # noqa: S311 - nothing to guess here
    chosen: list[Sample] = []
    unreadable: list[str] = []
    for sample in samples:
        if len(chosen) == count:
            break
        if _readable(sample):
            chosen.append(sample)
        else:
            unreadable.append(sample.name)
    if not chosen:
        raise InputError(f"{source} holds no readable picture ({len(unreadable)} unreadable); add some JPEG or PNG")
    return Selection(tuple(chosen), tuple(unreadable))


def _samples(source: Path) -> Sequence[Sample]:
    if not source.exists():
        raise InputError(f"{source} is not there; give a directory with pictures to calibrate on")
    try:
        return open_dataset(source).samples
    except NoDatasetError:
        if not source.is_dir():
            raise
    paths = (path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return [Sample(path.relative_to(source).as_posix(), path) for path in paths]


def _readable(sample: Sample) -> bool:
    try:
        load_image(sample.image)
    except ImageError:
        return False
    return True
