"""Where to put a caption: close to its object, and on as little of anything else as possible."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from f2edge.drawing.strokes import Point, Rectangle

Rectangles: TypeAlias = NDArray[np.float64]
"""(n, 4), each x1, y1, x2, y2."""

_STEPS = 32  # points of a side of an outline
_FURTHEST = 5  # captions of the same height that fit between a caption and its object

# Costs of a place; each of those captions costs 1.
_OTHER_SIDE = 0.2  # below, inside, at the right end or in the middle, instead of above and at the left end
_BESIDE = 0.6  # left or right of the object
_HIDDEN = 4.0  # another object is covered; a part of it costs that part
_OWN = 1.0  # the object of the caption is covered


def place(
    size: tuple[float, float], picture: tuple[int, int], index: int, objects: Rectangles, taken: Sequence[Rectangle]
) -> Rectangle | None:
    """Choose the place of a caption; None if every place covers another caption.

    Args:
        size: (width, height) of the caption.
        picture: (width, height) of the picture; the place is inside.
        index: the row of the caption's object in ``objects``.
        objects: the boxes around all objects.
        taken: the places of other captions.
    """
    places, rows = _near(size, picture, objects[index])
    free = ~(_covered(places, np.array(taken).reshape(-1, 4)) > 0).any(1)
    if not free.any():
        return None
    hidden = _covered(places, objects) / np.maximum(_areas(objects), 1)
    costs = rows + _HIDDEN * hidden.sum(1) - (_HIDDEN - _OWN) * hidden[:, index]
    x1, y1, x2, y2 = places[np.flatnonzero(free)[np.argmin(costs[free])]].tolist()
    return x1, y1, x2, y2


def nearest(place: Rectangle, outlines: Sequence[Sequence[Point]]) -> tuple[Point, Point]:
    """Return the point of a place and the point of some closed outlines that are nearest to each other.

    Of each side of an outline, 32 points count.
    """
    steps = np.linspace(0, 1, _STEPS, endpoint=False)[:, None, None]
    corners = [np.asarray(points, float) for points in outlines]
    sides = [starts + steps * (np.roll(starts, -1, 0) - starts) for starts in corners]
    there = np.concatenate([side.reshape(-1, 2) for side in sides])
    here = np.clip(there, place[:2], place[2:])
    best = np.argmin(((there - here) ** 2).sum(1))
    (x1, y1), (x2, y2) = here[best].tolist(), there[best].tolist()
    return (x1, y1), (x2, y2)


def _near(
    size: tuple[float, float], picture: tuple[int, int], box: NDArray[np.float64]
) -> tuple[Rectangles, Rectangles]:
    """Return places around a box, inside the picture, and the cost of the distance of each."""
    left, top, right, bottom = box.tolist()
    width, height = size
    rows = [(top - height, 0.0), (bottom, _OTHER_SIDE), (top, _OTHER_SIDE), (bottom - height, _OTHER_SIDE)]
    for row in range(1, _FURTHEST + 1):
        rows += [(top - (1 + row) * height, float(row)), (bottom + row * height, row + _OTHER_SIDE)]
    columns = [(left, 0.0), (right - width, _OTHER_SIDE), ((left + right - width) / 2, _OTHER_SIDE)]
    columns += [(right, _BESIDE), (left - width, _BESIDE)]
    spots = [(x, y, dx + dy) for (y, dy), (x, dx) in product(rows, columns)]
    xs = np.clip([x for x, _, _ in spots], 0, max(0, picture[0] - width - 1))
    ys = np.clip([y for _, y, _ in spots], 0, max(0, picture[1] - height - 1))
    return np.stack([xs, ys, xs + width, ys + height], 1), np.array([cost for _, _, cost in spots])


def _covered(some: Rectangles, others: Rectangles) -> NDArray[np.float64]:
    """Return the area that each of some boxes (n) shares with each of others (m), as (n, m)."""
    low = np.maximum(some[:, None, :2], others[None, :, :2])
    high = np.minimum(some[:, None, 2:], others[None, :, 2:])
    area: NDArray[np.float64] = np.clip(high - low, 0, None).prod(2)
    return area


def _areas(boxes: Rectangles) -> NDArray[np.float64]:
    areas: NDArray[np.float64] = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return areas
