"""Pictures, questions and true answers: the form that every data set is read into."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from f2edge.lines import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from f2edge.image import ImageSource
    from f2edge.tasks.table import Region

Shape: TypeAlias = tuple[float, ...]
_NAMED = 5
"""The most things that one line names."""


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
    """A picture and the questions about it.

    Args:
        name: its name in the data set.
        image: the picture.
        questions: the questions about it.
        size: (width, height) of the annotated picture in pixels, if the data set says it.
    """

    name: str
    image: ImageSource
    questions: tuple[Question, ...] = ()
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Note:
    """Something about one thing of a data set that its user must know, such as that it was left out.

    Args:
        verb: what was done, such as "left out".
        thing: "picture", "file", "annotation", ...
        name: which one.
        reason: why.
        count: the number of such things, if ``name`` is the file that holds them.
    """

    verb: str
    thing: str
    name: str
    reason: str
    count: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


def summary(notes: Iterable[Note]) -> list[str]:
    """Return a line for each kind of note, with the first names: ``left out 2 files: a.json (...), b.json (...)``.

    Lines are printable, whatever the names are.
    """
    groups: dict[tuple[str, str], list[Note]] = {}
    for note in notes:
        groups.setdefault((note.verb, note.thing), []).append(note)
    return [one_line(f"{verb} {_counted(group, thing)}") for (verb, thing), group in groups.items()]


def _counted(notes: Sequence[Note], thing: str) -> str:
    count, rest = sum(note.count for note in notes), len(notes) - _NAMED
    names = ", ".join(f"{note.name} ({note.reason})" for note in notes[:_NAMED])
    return f"{count} {thing}{'s' if count > 1 else ''}: {names}" + (f" and {rest} more" if rest > 0 else "")


Loaded: TypeAlias = "tuple[tuple[Sample, ...], tuple[Note, ...]]"
"""What the reader of a format returns: the pictures, and what it left out."""


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Args:
        path: the path that it was opened by.
        kind: its format in words.
        samples: its pictures, in the order of its files.
        notes: what was left out of it, and why.
    """

    path: str
    kind: str
    samples: tuple[Sample, ...]
    notes: tuple[Note, ...] = ()

    def first(self, limit: int | None) -> Dataset:
        """Return the data set with its first ``limit`` pictures only; None keeps all."""
        return replace(self, samples=self.samples[:limit])
