"""Located objects in the forms that other tools read: detections of supervision, results of COCO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from f2edge.arrays import hull
from f2edge.draw import Located
from f2edge.errors import InputError, MissingExtraError, TaskError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from numpy.typing import NDArray
    from supervision import Detections

_TEXT = "text"  # the one category of COCO-Text
_FEWEST_NUMBERS = 6  # of a polygon with an area: three points


class HandedOver(Located, Protocol):
    """The parts of a result that are handed over."""

    @property
    def task(self) -> str:
        """The task's name."""

    @property
    def answer(self) -> Mapping[str, object]:
        """Text or something else by the task's name."""

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(width, height) of the original picture in pixels, if it is known."""


class _Thing(NamedTuple):
    """One object: its label, its outlines x, y, x, y, ..., and its confidence, if the result has any."""

    label: str
    outlines: Sequence[Sequence[float]]
    confidence: float | None

    @property
    def hull(self) -> tuple[float, float, float, float]:
        """(x1, y1, x2, y2) of the smallest upright box around it."""
        return hull(*self.outlines)


def to_supervision(result: HandedOver, categories: Mapping[str, int] | None = None) -> Detections:
    """Return the objects as detections of supervision; :meth:`f2edge.Result.to_supervision` describes them."""
    sv = _supervision()
    things = _things(result)
    labels = [thing.label for thing in things]
    scores = [thing.confidence for thing in things if thing.confidence is not None]
    numbers = _counted(labels) if categories is None else _numbers(_names(result, things), categories)
    data: dict[str, Any] = {"class_name": np.array(labels, np.str_)}
    if result.quads:
        data["xyxyxyxy"] = np.array(result.quads, np.float32).reshape(-1, 4, 2)
    found: Detections = sv.Detections(
        xyxy=np.array([thing.hull for thing in things], np.float32).reshape(-1, 4),
        mask=_masks(sv, things, result) if result.polygons and things else None,
        confidence=np.array(scores, np.float32) if len(scores) == len(things) else None,
        class_id=np.array(numbers, np.int64),
        data=data,
    )
    return found


def to_coco(
    result: HandedOver, image_id: int | str, categories: Mapping[str, int] | None = None
) -> list[dict[str, Any]]:
    """Return the objects as entries of a file of COCO results; :meth:`f2edge.Result.to_coco` describes them."""
    things = _things(result)
    names = _names(result, things)
    numbers = [None] * len(names) if categories is None else _numbers(names, categories)
    entries = [
        {
            "image_id": image_id,
            "category_id": number,
            "category_name": name,
            "bbox": _width_and_height(thing.hull),
            "segmentation": None if result.boxes else [list(outline) for outline in thing.outlines],
            "score": thing.confidence,
            "utf8_string": thing.label if result.quads else None,
        }
        for thing, name, number in zip(things, names, numbers, strict=True)
    ]
    return [{key: value for key, value in entry.items() if value is not None} for entry in entries]


def _things(result: HandedOver) -> list[_Thing]:
    """Return the objects, without masks that have no polygon of three points, and so no area.

    Raises:
        TaskError: the answer is a text.
    """
    if isinstance(result.answer.get(result.task), str):
        task = result.task or "a free prompt"
        raise TaskError(f"the answer to {task} is a text, which locates nothing: read `plain_text`")
    shapes: list[Sequence[Sequence[float]]] = [(shape,) for shape in (*result.boxes, *result.quads)]
    shapes += [[polygon for polygon in thing if len(polygon) >= _FEWEST_NUMBERS] for thing in result.polygons]
    scores: Sequence[float | None] = result.confidences or [None] * len(shapes)
    things = [_Thing(*parts) for parts in zip(result.labels, shapes, scores, strict=True)]
    return [thing for thing in things if thing.outlines]


def _names(result: HandedOver, things: Sequence[_Thing]) -> list[str]:
    """Return the category of each object: its label, but what a line of text says is no category."""
    return [_TEXT if result.quads else thing.label for thing in things]


def _numbers(names: Sequence[str], categories: Mapping[str, int]) -> list[int]:
    """Return the number of each name.

    Raises:
        InputError: a name that has no number, or categories that are not a mapping.
    """
    if not isinstance(categories, Mapping):
        raise InputError(f"`categories` is {type(categories).__name__}, not a mapping of names to numbers")
    for name in names:
        if name not in categories:
            what = f"the label {name!r}" if name else "the empty label, which objects of this task have,"
            raise InputError(f"{what} has no number in `categories`: add it, or choose objects by name afterwards")
    return [categories[name] for name in names]


def _counted(names: Sequence[str]) -> list[int]:
    """Number names from 0 in the order of their first appearance."""
    known = list(dict.fromkeys(names))
    return [known.index(name) for name in names]


def _width_and_height(box: tuple[float, float, float, float]) -> list[float]:
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]


def _masks(sv: ModuleType, things: Sequence[_Thing], result: HandedOver) -> NDArray[np.bool_]:
    """Paint the polygons of each object as one mask; return (n, height, width) of bool.

    Raises:
        InputError: the size of the picture is not known.
    """
    if result.image_size is None:
        raise InputError("masks need the size of the picture: set `image_size` with dataclasses.replace")
    width, height = result.image_size
    masks = np.zeros((len(things), height, width), bool)
    for mask, thing in zip(masks, things, strict=True):
        for outline in thing.outlines:
            # An answer can spell numbers that no token has.
            points = np.clip(np.reshape(outline, (-1, 2)), 0, (width - 1, height - 1))
            np.logical_or(mask, sv.polygon_to_mask(points.astype(np.int32), (width, height)), out=mask)
    return masks


def _supervision() -> ModuleType:
    """Import supervision.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import supervision  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        raise MissingExtraError("supervision", "supervision") from error
    return supervision
