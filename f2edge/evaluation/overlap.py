"""Intersection over union of boxes, of masks made of polygons, and of quads around lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from f2edge.errors import MissingExtraError

try:
    import shapely
except ImportError as error:
    raise MissingExtraError("shapely", "eval") from error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

MATCH = 0.5
"""The least IoU of a match."""

_BOX = 4
_TRIANGLE = 6


def box_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the IoU of two boxes x1, y1, x2, y2; 0 if one is not a box."""
    if len(a) != _BOX or len(b) != _BOX:
        return 0.0
    overlap = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = sum(max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]) for box in (a, b)) - overlap
    return overlap / union if union > 0 else 0.0


def mask_iou(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]], size: tuple[int, int]) -> float:
    """Return the IoU of two masks, counted in pixels; 0 if both are empty.

    Args:
        a: the polygons x, y, x, y, ... of one mask.
        b: the polygons of the other mask.
        size: (width, height) of the picture.
    """
    first, second = _rasterise(a, size), _rasterise(b, size)
    union = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / union) if union else 0.0


def _rasterise(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> NDArray[np.bool_]:
    mask = Image.new("1", size)
    for polygon in polygons:
        if len(polygon) >= _TRIANGLE:
            ImageDraw.Draw(mask).polygon(list(polygon[: len(polygon) // 2 * 2]), fill=1)
    return np.asarray(mask)


def quad_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the IoU of two quads x, y, x, y, ...; a quad whose sides cross counts as its convex hull."""
    first, second = (shapely.MultiPoint(np.reshape(quad, (-1, 2))).convex_hull for quad in (a, b))
    union = first.union(second).area
    return float(first.intersection(second).area / union) if union > 0 else 0.0


def matched(
    answered: Sequence[Sequence[float]],
    truth: Sequence[Sequence[float]],
    iou: Callable[[Sequence[float], Sequence[float]], float] = quad_iou,
) -> int:
    """Count the pairs of quads, or boxes, with an IoU of at least ``MATCH``: the best pair first, each in one pair."""
    return int(np.count_nonzero(paired(iou_table(answered, truth, iou))))


def iou_table(answered: Sequence[Any], truth: Sequence[Any], iou: Callable[[Any, Any], float]) -> NDArray[np.float64]:
    """Return the IoU of each answered shape with each true one, (answered, true) float64."""
    return np.array([[iou(one, right) for right in truth] for one in answered]).reshape(len(answered), len(truth))


def paired(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pair rows and columns with an IoU of at least ``MATCH``, the best pair first, each in one pair.

    Args:
        table: (rows, columns) IoU.

    Returns:
        (rows,) the IoU of the pair of each row; 0 for a row without one.
    """
    left, found = table.copy(), np.zeros(len(table))
    while left.size and left.max() >= MATCH:
        row, column = np.unravel_index(left.argmax(), left.shape)
        found[row] = left[row, column]
        left[row, :] = left[:, column] = 0.0
    return found
