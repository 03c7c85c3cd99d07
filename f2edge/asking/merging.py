"""Join what was found in the parts of a picture: objects that two parts have in common count once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np

from f2edge.arrays import Boxes, Quads, hull
from f2edge.tasks.answer_types import Answers
from f2edge.tasks.answers import to_answer
from f2edge.tasks.parsers import Instance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from f2edge.arrays import FloatArray
    from f2edge.result import Result
    from f2edge.tasks.confidence import Features
    from f2edge.tasks.parsers import Kind
    from f2edge.tasks.table import Task

_BY_LABEL = ("<OD>",)
"""Tasks whose labels tell kinds of objects apart.  What a caption calls large in a tile is small in the picture."""
_NEAR = 0.01
"""A box that ends within this share of a tile's side at the border of the tile may be a part of an object."""


class Rival(Protocol):
    """What is compared when two objects may be the same one."""

    @property
    def label(self) -> str:
        """Its label."""

    @property
    def box(self) -> Sequence[float]:
        """(x1, y1, x2, y2) of the upright box around it."""

    @property
    def confidence(self) -> float:
        """How certain it is."""

    @property
    def cut(self) -> bool:
        """Whether it may be only the part of an object that its tile has."""


R = TypeVar("R", bound=Rival)


class Thing(NamedTuple):
    """One object, in pixels of the whole picture; ``cut`` if it may be only the part of it that its tile has."""

    label: str
    shape: tuple[float, ...]
    confidence: float
    score: float
    features: Features
    microsoft: float | None
    cut: bool

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(x1, y1, x2, y2) of the upright box around it."""
        return hull(self.shape)


def join(task: Task, parts: Sequence[Result], places: Sequence[tuple[int, int, int, int]], nms: float) -> Result:
    """Return one result of those about the parts of a picture.

    Args:
        task: what was asked.
        parts: the results, that about the whole picture first.
        places: where each part is in the picture, (x1, y1, x2, y2) in pixels.
        nms: the IoU from which two objects are the same one.

    Returns:
        The objects of all parts.  Everything that is about the text is that of the whole picture.
    """
    things = [thing for part, place in zip(parts, places, strict=False) for thing in _things(part, place, places[0])]
    kept = _ordered(task, suppress(things, nms, by_label=task.name in _BY_LABEL))
    shapes, is_text = tuple(thing.shape for thing in kept), task.parser == "ocr"
    return replace(
        parts[0],
        answer=_answer(task, parts[0].text, kept),
        labels=tuple(thing.label for thing in kept),
        boxes=Boxes(() if is_text else shapes),
        quads=Quads(shapes if is_text else ()),
        confidences=tuple(thing.confidence for thing in kept),
        scores=tuple(thing.score for thing in kept),
        features=tuple(thing.features for thing in kept),
        truncated=any(part.truncated for part in parts),
        timings_ms=dict(sum((Counter(part.timings_ms) for part in parts), Counter())),
        steps=sum(part.steps for part in parts),
    )


def _answer(task: Task, text: str, things: Sequence[Thing]) -> Answers:
    """Return the objects in the schema of Microsoft, with its scores if all of them have one."""
    kind: Kind = "quads" if task.parser == "ocr" else "boxes"
    instances = [Instance(kind, thing.label, (list(thing.shape),), ()) for thing in things]
    scores = [thing.microsoft for thing in things if thing.microsoft is not None]
    return Answers({task.name: to_answer(task, text, instances, scores if len(scores) == len(things) else ())})


def _things(part: Result, place: tuple[int, int, int, int], whole: tuple[int, int, int, int]) -> list[Thing]:
    """Return the objects of one part, moved to their place in the picture."""
    shapes = part.quads or part.boxes
    answer: Any = next(iter(part.answer.values()))
    microsoft = answer.get("scores") or [None] * len(shapes)
    things = []
    for label, shape, confidence, score, features, other in zip(
        part.labels, shapes, part.confidences, part.scores, part.features, microsoft, strict=True
    ):
        moved = tuple(value + place[axis % 2] for axis, value in enumerate(shape))
        thing = Thing(label, moved, confidence, score, features, other, cut=False)
        things.append(thing._replace(cut=_is_cut(thing.box, place, whole)))
    return things


def _is_cut(
    box: tuple[float, float, float, float], place: tuple[int, int, int, int], whole: tuple[int, int, int, int]
) -> bool:
    """Tell whether a box ends at a border of its part that is no border of the picture."""
    near = [_NEAR * (place[axis + 2] - place[axis]) for axis in (0, 1)] * 2
    pairs = zip(box, place, whole, near, strict=True)
    return any(border != end and abs(value - border) <= limit for value, border, end, limit in pairs)


def suppress(things: Sequence[R], nms: float, *, by_label: bool) -> list[R]:
    """Keep the most certain of the objects that are the same one; parts of objects come after whole ones.

    A part of an object is also the same as one that covers at least the share ``nms`` of it.

    Args:
        things: the objects; of two that are equally certain the first one stays.
        nms: the IoU from which two objects are the same one.
        by_label: whether only objects with the same label can be the same one.
    """
    order = sorted(things, key=lambda thing: (thing.cut, -thing.confidence))
    boxes = np.array([thing.box for thing in order], np.float32).reshape(-1, 4)
    kept: list[int] = []
    for index, thing in enumerate(order):
        rivals = [k for k in kept if not by_label or order[k].label == thing.label]
        if not rivals or overlap(boxes[index], boxes[rivals], part=thing.cut).max() < nms:
            kept.append(index)
    return [order[index] for index in kept]


def overlap(box: FloatArray, others: FloatArray, *, part: bool = False) -> FloatArray:
    """Return the IoU of a box (4,) with others (n, 4), or for a part of an object the share of it that each covers."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=1)
    own, areas = np.prod(box[2:] - box[:2]), np.prod(others[:, 2:] - others[:, :2], axis=1)
    shared: FloatArray = common / np.maximum(own if part else own + areas - common, 1e-9)
    return shared


def _ordered(task: Task, things: Sequence[Thing]) -> list[Thing]:
    """Put lines of text from top to bottom and left to right, other objects from the most to the least certain."""
    if task.parser == "ocr":
        return sorted(things, key=lambda thing: (thing.box[1], thing.box[0]))
    return sorted(things, key=lambda thing: -thing.confidence)
