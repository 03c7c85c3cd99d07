"""Outlines and areas with smooth edges: they are painted larger, and reduced."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Place: TypeAlias = Callable[["Point"], "Point"]

Point: TypeAlias = tuple[float, float]
Rectangle: TypeAlias = tuple[float, float, float, float]
Colour: TypeAlias = tuple[int, ...]

_FINER = 3
_MOST_PIXELS = 4_000_000  # of a part that is painted larger; steps in an outline of that size cannot be seen
_LIGHT = 150  # of 255: black beside lighter colours, white beside darker ones
_EDGE_ALPHA = 150


def ink(colour: Colour) -> Colour:
    """Return black or white, whichever stands out from a colour."""
    red, green, blue = colour[:3]
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > _LIGHT else (255, 255, 255)


def bounds_of(outlines: Sequence[Sequence[Point]]) -> Rectangle:
    """Return the smallest upright box around all points."""
    xs, ys = zip(*chain.from_iterable(outlines), strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def paint_box(picture: Image.Image, box: Rectangle, colour: Colour, alpha: int, width: int) -> None:
    """Tint a box, and draw its outline between two thin lines that set it off from any background."""
    x1, y1, x2, y2 = map(round, box)
    pen = ImageDraw.Draw(picture, "RGBA")
    pen.rectangle((x1, y1, x2, y2), fill=(*colour, alpha))
    out, thin = width // 2, edge_width(width)
    for outset, line, wide in ((out + thin, (*ink(colour), _EDGE_ALPHA), width + 2 * thin), (out, colour, width)):
        pen.rectangle((x1 - outset, y1 - outset, x2 + outset, y2 + outset), outline=line, width=wide)


def paint_polygons(
    picture: Image.Image, polygons: Sequence[Sequence[Point]], colour: Colour, alpha: int, width: int
) -> None:
    """Tint the union of some polygons, and draw their outlines between two thin lines."""
    drawn = [points for points in polygons if len(points) > 1]
    if not drawn:
        return

    def fill(pen: ImageDraw.ImageDraw, place: Place, _: int) -> None:
        for points in drawn:
            pen.polygon([place(point) for point in points], fill=alpha)

    stamp(picture, bounds_of(drawn), colour, fill)
    paint_lines(picture, [[*points, *points[:2]] for points in drawn], colour, width)


def paint_lines(picture: Image.Image, lines: Sequence[Sequence[Point]], colour: Colour, width: int) -> None:
    """Draw lines between two thin lines that set them off from any background."""
    wide = width + 2 * edge_width(width)
    x1, y1, x2, y2 = bounds_of(lines)
    for paint, strength, across in ((ink(colour), _EDGE_ALPHA, wide), (colour, 255, width)):

        def draw(pen: ImageDraw.ImageDraw, place: Place, scale: int, fill: int = strength, px: int = across) -> None:
            for points in lines:
                pen.line([place(point) for point in points], fill=fill, width=px * scale, joint="curve")

        stamp(picture, (x1 - wide, y1 - wide, x2 + wide, y2 + wide), paint, draw)


def edge_width(width: int) -> int:
    """Return the width of the thin lines beside a line."""
    return max(1, width // 4)


def stamp(
    picture: Image.Image,
    bounds: Rectangle,
    colour: Colour,
    paint: Callable[[ImageDraw.ImageDraw, Place, int], None],
) -> None:
    """Colour a part of the picture as strongly as ``paint`` says.

    Args:
        picture: the picture that is changed.
        bounds: the part; what is outside the picture is cut off.
        colour: red, green and blue.
        paint: draws from 0 to 255 with the pen that it gets.  The second argument places points of the picture, the
            third is the pen's pixels for one of the picture.
    """
    left, top = max(0, int(bounds[0])), max(0, int(bounds[1]))
    size = min(picture.width, int(bounds[2]) + 2) - left, min(picture.height, int(bounds[3]) + 2) - top
    if min(size) < 1:
        return
    scale = _FINER if size[0] * size[1] <= _MOST_PIXELS else 1
    mask = Image.new("L", (size[0] * scale, size[1] * scale))
    paint(ImageDraw.Draw(mask), lambda point: ((point[0] - left + 0.5) * scale, (point[1] - top + 0.5) * scale), scale)
    picture.paste(colour[:3], (left, top), mask.reduce(scale))
