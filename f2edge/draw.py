"""Pictures with what the model located drawn on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from PIL import ImageColor

from f2edge.drawing.captions import Writer
from f2edge.drawing.strokes import bounds_of, paint_box, paint_polygons
from f2edge.image import load_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from f2edge.drawing.strokes import Colour, Point, Rectangle
    from f2edge.image import ImageSource

_COLOURS = (
    *("#e6194b", "#0a7cff", "#ffb000", "#12a150", "#9b3bdc", "#f5700a"),
    *("#00a5b5", "#e33fb4", "#7a9a01", "#7c4a2d", "#7fd1ff", "#3d4ed8"),
)
_BOX_ALPHA = 24
_MASK_ALPHA = 110
_WHOLE_PERCENT = 0.1  # smaller confidences have a decimal


class Located(Protocol):
    """Objects that can be drawn: a :class:`~f2edge.Result`, or anything else with these parts, such as annotations.

    Each object has a label, and a box, a quad or a list of polygons; confidences may be absent.  All
    coordinates are pixels of the picture.
    """

    @property
    def labels(self) -> Sequence[str]:
        """One for each thing; may be empty."""

    @property
    def boxes(self) -> Sequence[Sequence[float]]:
        """(x1, y1, x2, y2) each."""

    @property
    def quads(self) -> Sequence[Sequence[float]]:
        """Four corners x, y, x, y, ... each."""

    @property
    def polygons(self) -> Sequence[Sequence[Sequence[float]]]:
        """For each thing its polygons x, y, x, y, ..."""

    @property
    def confidences(self) -> Sequence[float]:
        """From 0 to 1, one for each thing, or none at all."""


class _Mark(NamedTuple):
    """One thing to draw: its outlines, its label with the confidence in percent, its colour."""

    outlines: tuple[tuple[Point, ...], ...]
    label: str
    percent: str
    colour: Colour
    confidence: float
    is_box: bool
    alpha: int

    @property
    def bounds(self) -> Rectangle:
        return bounds_of(self.outlines)

    @property
    def area(self) -> float:
        x1, y1, x2, y2 = self.bounds
        return (x2 - x1) * (y2 - y1)


def draw(image: ImageSource, result: Located) -> Image.Image:
    """Draw boxes, quads and masks with their labels and confidences on a copy of the picture.

    A caption covers no other caption.  In a crowd it may stand apart from its object, with a line between them; where
    there is no room at all it is left out, those of the least confidence first.

    Example:
        >>> result = model.run("street.jpg", "od")
        >>> f2edge.draw("street.jpg", result).save("boxes.png")

    Args:
        image: the picture that was asked about, in its original size: a path, the bytes of a file, a PIL image or an
            array (H, W, 3) of uint8.
        result: the answer.  If it locates nothing, the copy shows the picture alone.

    Returns:
        A new RGB picture of the same size.

    Raises:
        ImageError: not a picture, or one too large to open safely.
    """
    picture = load_image(image)
    marks = _marks(result, picture.size)
    width = max(2, round((picture.width * picture.height) ** 0.5 / 280))
    for mark in sorted(marks, key=lambda mark: -mark.area):  # small things on top of large ones
        if mark.is_box:
            paint_box(picture, mark.bounds, mark.colour, mark.alpha, width)
        else:
            paint_polygons(picture, mark.outlines, mark.colour, mark.alpha, width)
    _write_captions(picture, marks, width)
    return picture


def _write_captions(picture: Image.Image, marks: Sequence[_Mark], width: int) -> None:
    writer = Writer(picture.size, "".join(mark.label for mark in marks))
    around = np.array([mark.bounds for mark in marks]).reshape(-1, 4) + np.array([-width, -width, width, width])
    for index in sorted(range(len(marks)), key=lambda index: -marks[index].confidence):
        writer.add(marks[index], index, around)
    writer.write(picture, width)


def _marks(result: Located, size: tuple[int, int]) -> list[_Mark]:
    things = [*map(_corners, result.boxes), *((quad,) for quad in result.quads), *result.polygons]
    alpha = _MASK_ALPHA if result.polygons else _BOX_ALPHA
    names = list(dict.fromkeys(result.labels))
    confidences = result.confidences or [1.0] * len(things)
    marks = []
    for index, (thing, label, sure) in enumerate(zip(things, result.labels, confidences, strict=True)):
        outlines = tuple(_points(flat, size) for flat in thing if flat)
        colour = ImageColor.getrgb(_COLOURS[(names.index(label) if label else index) % len(_COLOURS)])
        percent = _percent(sure) if result.confidences else ""
        if outlines:
            words = " ".join(label.split())
            marks.append(_Mark(outlines, words, percent, colour, sure, bool(result.boxes), alpha))
    return marks


def _percent(confidence: float) -> str:
    return f"{confidence:.0%}" if confidence >= _WHOLE_PERCENT else f"{confidence:.1%}"


def _corners(box: Sequence[float]) -> tuple[tuple[float, ...]]:
    x1, y1, x2, y2 = box
    return ((x1, y1, x2, y1, x2, y2, x1, y2),)


def _points(flat: Sequence[float], size: tuple[int, int]) -> tuple[Point, ...]:
    """Pair x and y, and keep them in the picture: an answer can spell numbers that no token has."""
    right, bottom = size[0] - 1, size[1] - 1
    return tuple((min(x, right), min(y, bottom)) for x, y in zip(flat[::2], flat[1::2], strict=True))
