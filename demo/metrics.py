"""Measures of one answer against the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def box_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2; 0 for what is not a box."""
    if len(a) != 4 or len(b) != 4:
        return 0.0
    overlap = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = sum(max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]) for box in (a, b)) - overlap
    return overlap / union if union > 0 else 0.0


def mask_iou(a: Sequence[float], b: Sequence[float], size: tuple[int, int]) -> float:
    """Intersection over union of two polygons x, y, x, y, ... on a picture of `size` (width, height)."""
    first, second = (_rasterise(polygon, size) for polygon in (a, b))
    union = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / union) if union else 0.0


def _rasterise(polygon: Sequence[float], size: tuple[int, int]) -> NDArray[np.bool_]:
    mask = Image.new("1", size)
    if len(polygon) >= 6:
        ImageDraw.Draw(mask).polygon(list(polygon[: len(polygon) // 2 * 2]), fill=1)
    return np.asarray(mask)


def edit_distance(a: str, b: str) -> int:
    """Levenshtein distance in characters."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]
