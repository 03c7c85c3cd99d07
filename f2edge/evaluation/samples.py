"""Pictures, questions and true answers: the form that every data set is read into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from f2edge.image import ImageSource
    from f2edge.tasks.table import Region

Shape: TypeAlias = tuple[float, ...]


@dataclass(frozen=True)
class Question:
    """One question about a picture, and its true answer.  Coordinates are pixels of the original picture.

    Args:
        task: the name of the task, such as ``<OD>``; empty for a question in free words.
        text: the input of the task: a caption, a phrase or a question.
        region: (x1, y1, x2, y2), for tasks about a region.
        answers: the right answers of a task that is answered in words; any of them counts.
        labels: one label for each box or quad.
        boxes: the boxes, (x1, y1, x2, y2) each.
        crowd: whether each box stands for a crowd, which the metric of COCO ignores; empty if none does.
        polygons: the polygons x, y, x, y, ... of the one object that is asked for.
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
    """A picture and the questions about it; ``name`` is its name in the data set."""

    name: str
    image: ImageSource
    questions: tuple[Question, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """A data set: its path, its format in words, and its pictures in the order of its files."""

    path: str
    kind: str
    samples: tuple[Sample, ...]

    def first(self, limit: int | None) -> Dataset:
        """Return the data set with its first ``limit`` pictures only; None keeps all."""
        return Dataset(self.path, self.kind, self.samples[:limit])
