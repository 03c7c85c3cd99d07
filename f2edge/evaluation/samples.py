"""Pictures, the questions about them and the true answers: what every data set is read into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from f2edge.image import ImageSource
    from f2edge.tasks.table import Region

Shape: TypeAlias = tuple[float, ...]


@dataclass(frozen=True)
class Question:
    """One question about a picture, and its truth.  Coordinates are pixels of the original picture.

    Args:
        task: ``<OD>``; empty for a question in free words.
        text: what the task needs: a caption, a phrase, a question.
        region: (x1, y1, x2, y2), for tasks about a region.
        answers: right answers of a task that is answered in words; any of them will do.
        labels: one for each box or quad.
        boxes: (x1, y1, x2, y2) each.
        crowd: for each box whether it stands for a crowd, in which COCO's metric counts nothing; empty for none.
        polygons: x, y, x, y, ... each; together they are the one thing that is asked for.
        quads: the four corners x, y, x, y, ... of each line of text.
    """

    task: str
    text: str | None = None
    region: Region | None = None
    answers: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    boxes: tuple[Shape, ...] = ()
    crowd: tuple[bool, ...] = ()
    polygons: tuple[Shape, ...] = ()
    quads: tuple[Shape, ...] = ()


@dataclass(frozen=True)
class Sample:
    """A picture and all that is asked about it; ``name`` is how the data set calls it."""

    name: str
    image: ImageSource
    questions: tuple[Question, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """A data set that was read: its place, its format in words, and its pictures in the order of its files."""

    path: str
    kind: str
    samples: tuple[Sample, ...]

    def first(self, limit: int | None) -> Dataset:
        """The same with the first ``limit`` pictures only."""
        return Dataset(self.path, self.kind, self.samples[:limit])
