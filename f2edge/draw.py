"""Pictures with what the model located drawn on them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Protocol, TypeAlias

from PIL import Image, ImageColor, ImageDraw, ImageFont

from f2edge.image import load_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from f2edge.image import ImageSource

    Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

Point: TypeAlias = tuple[float, float]
Rectangle: TypeAlias = tuple[float, float, float, float]

_COLOURS = (
    *("#e6194b", "#0a7cff", "#ffb000", "#12a150", "#9b3bdc", "#f5700a"),
    *("#00a5b5", "#e33fb4", "#7a9a01", "#7c4a2d", "#3d4ed8", "#c2185b"),
)
_FONTS = ("DejaVuSans.ttf", "arial.ttf")  # Pillow's own font has no letters beyond ASCII
_LONGEST_CUT = 200
_BOX_ALPHA = 24
_MASK_ALPHA = 110
_LIGHT = 150  # of 255: black letters on lighter colours, white ones on darker


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


@dataclass(frozen=True)
class _Mark:
    """One thing to draw: its outlines, its label with the confidence in percent, its colour."""

    outlines: tuple[tuple[Point, ...], ...]
    label: str
    percent: str
    colour: tuple[int, ...]
    alpha: int

    @property
    def bounds(self) -> Rectangle:
        xs, ys = zip(*chain.from_iterable(self.outlines), strict=True)
        return min(xs), min(ys), max(xs), max(ys)


def draw(image: ImageSource, result: Located) -> Image.Image:
    """Draw boxes, quads and masks with their labels and confidences on a copy of the picture.

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
    width = max(2, round(min(picture.size) / 220))
    for mark in marks:
        _draw_outlines(picture, mark, width)
    font = _font(max(12, round(min(picture.size) / 32)))
    placed: list[Rectangle] = []
    for mark in marks:
        placed += _draw_caption(picture, mark, font, placed)
    return picture


def _marks(result: Located, size: tuple[int, int]) -> list[_Mark]:
    things: list[Sequence[Sequence[float]]] = [_corners(box) for box in result.boxes]
    things += [(quad,) for quad in result.quads]
    things += list(result.polygons)
    alpha = _MASK_ALPHA if result.polygons else _BOX_ALPHA
    names = list(dict.fromkeys(result.labels))
    marks = []
    for index, (thing, label) in enumerate(zip(things, result.labels, strict=True)):
        outlines = tuple(_points(flat, size) for flat in thing if flat)
        colour = ImageColor.getrgb(_COLOURS[(names.index(label) if label else index) % len(_COLOURS)])
        percent = f"{result.confidences[index]:.1%}" if result.confidences else ""
        if outlines:
            marks.append(_Mark(outlines, " ".join(label.split()), percent, colour, alpha))
    return marks


def _corners(box: Sequence[float]) -> tuple[tuple[float, ...]]:
    x1, y1, x2, y2 = box
    return ((x1, y1, x2, y1, x2, y2, x1, y2),)


def _points(flat: Sequence[float], size: tuple[int, int]) -> tuple[Point, ...]:
    """Pair x and y, and keep them in the picture: an answer can spell numbers that no token has."""
    right, bottom = size[0] - 1, size[1] - 1
    return tuple((min(x, right), min(y, bottom)) for x, y in zip(flat[::2], flat[1::2], strict=True))


def _draw_outlines(picture: Image.Image, mark: _Mark, width: int) -> None:
    pen = ImageDraw.Draw(picture, "RGBA")
    for points in mark.outlines:
        if len(points) > 1:
            pen.polygon(points, fill=(*mark.colour, mark.alpha))
            pen.line([*points, *points[:2]], fill=mark.colour, width=width, joint="curve")


def _draw_caption(picture: Image.Image, mark: _Mark, font: Font, placed: Sequence[Rectangle]) -> list[Rectangle]:
    pen = ImageDraw.Draw(picture)
    bottom = pen.textbbox((0, 0), "Ag", font=font)[3]
    pad = max(2, round(bottom / 6))
    text = _shortened(mark, pen, font, picture.width - 2 * pad)
    if not text:
        return []
    size = (pen.textlength(text, font=font) + 2 * pad, bottom + 2 * pad)
    place = _place(mark.bounds, size, picture.size, placed)
    pen.rounded_rectangle(place, radius=pad, fill=mark.colour)
    pen.text((place[0] + pad, place[1] + pad), text, fill=_ink(mark.colour), font=font)
    return [place]


def _font(size: int) -> Font:
    for name in _FONTS:
        with contextlib.suppress(OSError):
            return ImageFont.truetype(name, size)
    return ImageFont.load_default(size=size)


def _shortened(mark: _Mark, pen: ImageDraw.ImageDraw, font: Font, room: float) -> str:
    """Join label and percent; the label gives way where both do not fit."""
    texts = [f"{mark.label} {mark.percent}".strip()]
    texts += [
        f"{mark.label[:end]}… {mark.percent}".strip() for end in range(min(len(mark.label) - 1, _LONGEST_CUT), 0, -1)
    ]
    texts += [mark.percent]
    return next((text for text in texts if pen.textlength(text, font=font) <= room), "")


def _place(
    bounds: Rectangle, size: tuple[float, float], picture: tuple[int, int], placed: Sequence[Rectangle]
) -> Rectangle:
    """Put a caption above its box, or else where it covers no other caption; always inside the picture."""
    left, top, _, bottom = bounds
    width, height = size
    x = max(0.0, min(left, picture[0] - width - 1))
    rows = [top - height, top, bottom - height, bottom, *(top + row * height for row in range(1, 8))]
    inside = [max(0.0, min(y, picture[1] - height - 1)) for y in rows]
    places = [(x, y, x + width, y + height) for y in inside]
    return next((place for place in places if not any(_overlap(place, other) for other in placed)), places[0])


def _overlap(one: Rectangle, other: Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _ink(colour: tuple[int, ...]) -> str:
    red, green, blue = colour[:3]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > _LIGHT else "white"
