"""Choose the pictures to calibrate on, with the questions of a data set if it has some."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from f2edge.errors import ImageError, InputError, NoDatasetError
from f2edge.evaluation import Sample, open_dataset
from f2edge.evaluation.pictures import as_annotated, why
from f2edge.evaluation.samples import Note, summary
from f2edge.image import load_image
from f2edge.paths import exists

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True)
class Selection:
    """The pictures to calibrate on.

    Args:
        samples: the pictures in the order of their use; those of a plain folder have no questions.
        unreadable: the names of the pictures that cannot be opened, or have another size than their annotations.
        left_out: lines that name everything that was left out, with the reasons.
    """

    samples: tuple[Sample, ...]
    unreadable: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def select_samples(source: Path, count: int, seed: int = 0) -> Selection:
    """Choose up to ``count`` pictures at random from a folder, or from a data set that ``f2edge eval`` reads.

    The choice depends on the pictures' names and the seed alone.  Unreadable pictures are left out and others taken.

    Args:
        source: a folder of pictures and those below it; or a data set's folder or file (COCO, JSONL, ...).
        count: the most pictures.
        seed: the seed of the choice.

    Raises:
        InputError: the source is not there, or has no readable picture.
        DatasetError: an entry of a data set cannot be used.
    """
    found, left_out = _samples(source)
    samples = sorted(found, key=lambda sample: sample.name)
    random.Random(seed).shuffle(samples)  # noqa: S311 - nothing to guess here
    chosen: list[Sample] = []
    unreadable: list[Note] = []
    for sample in samples:
        if len(chosen) == count:
            break
        if reason := _unusable(sample):
            unreadable.append(Note("left out", "picture", sample.name, reason))
        else:
            chosen.append(sample)
    if not chosen:
        raise InputError(f"{source} holds no readable picture ({len(unreadable)} unreadable); add some JPEG or PNG")
    names = tuple(note.name for note in unreadable)
    return Selection(tuple(chosen), names, (*left_out, *summary(unreadable)))


def _samples(source: Path) -> tuple[Sequence[Sample], Sequence[str]]:
    """Return the pictures of a data set or of a folder, and what was left out of it."""
    if not exists(source):
        raise InputError(f"{source} is not there; give a directory with pictures to calibrate on")
    try:
        dataset = open_dataset(source)
    except NoDatasetError as error:
        if not source.is_dir():
            raise
        paths = (path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        return [Sample(path.relative_to(source).as_posix(), path) for path in paths], error.left_out
    return dataset.samples, summary(dataset.notes)


def _unusable(sample: Sample) -> str:
    """Return why a picture cannot be calibrated on; "" if it can."""
    try:
        load_image(as_annotated(sample))
    except ImageError as error:
        return why(error, sample)
    return ""
