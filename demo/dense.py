"""A teacher for the vision tower: classes and boxes at 10 x 10 places of the picture, used in training only.

From the text loss alone, the tower of so small a model learns to see only after many thousands of pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from shapes import COLOURS, KINDS, SIZES
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scenes import Box, Scene

GRID = 10
_WORD_KIND = len(KINDS) + 1
_CLASSES = (len(KINDS) + 2, len(COLOURS), len(SIZES), 26)
IGNORE = -100
_COLOUR_NAMES, _SIZE_NAMES = list(COLOURS), list(SIZES)


class DenseTarget(NamedTuple):
    """The targets of each place: classes (B, 4, 10, 10), kind, colour, size and letter, and boxes (B, 10, 10, 4).

    Kind 0 is background; -100 marks what does not apply. Boxes are relative to the place, in fractions of the
    picture.
    """

    classes: Tensor
    boxes: Tensor


def dense_target(scene: Scene) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the target of one scene: every place belongs to the last shape or word whose box covers it."""
    classes = np.full((4, GRID, GRID), IGNORE, np.int64)
    classes[0] = 0
    boxes = np.zeros((GRID, GRID, 4), np.float32)
    for shape in scene.shapes:
        rows, columns = _cover(shape.box, scene.image.size, boxes)
        labels = KINDS.index(shape.kind) + 1, _COLOUR_NAMES.index(shape.colour), _SIZE_NAMES.index(shape.size)
        classes[:3, rows, columns] = np.array(labels)[:, None, None]
        classes[3, rows, columns] = IGNORE
    if scene.word is not None:
        rows, columns = _cover(scene.word.box, scene.image.size, boxes)
        classes[:, rows, columns] = IGNORE
        classes[0, rows, columns] = _WORD_KIND
        classes[3, rows, columns] = _letters(scene, columns)
    return classes, boxes


def _centres() -> NDArray[np.float32]:
    centres: NDArray[np.float32] = np.linspace(0.5 / GRID, 1 - 0.5 / GRID, GRID, dtype=np.float32)
    return centres


def _cover(box: Box, size: tuple[int, int], boxes: NDArray[np.float32]) -> tuple[slice, slice]:
    """Write the box at the places whose centres it covers, at least the nearest; return their rows and columns."""
    x1, y1, x2, y2 = np.array(box, np.float32) / np.array(size * 2, np.float32)
    columns, rows = _span(x1, x2), _span(y1, y2)
    x, y = np.meshgrid(_centres()[columns], _centres()[rows])
    boxes[rows, columns] = np.stack([x1 - x, y1 - y, x2 - x, y2 - y], -1)
    return rows, columns


def _span(low: float, high: float) -> slice:
    first, last = int(np.ceil(low * GRID - 0.5)), int(np.floor(high * GRID - 0.5))
    if last < first:
        first = last = int((low + high) / 2 * GRID)
    return slice(max(first, 0), min(last, GRID - 1) + 1)


def _letters(scene: Scene, columns: slice) -> NDArray[np.int64]:
    """Return the letter nearest to each column's centre."""
    assert scene.word is not None
    middles = np.array([(box[0] + box[2]) / 2 for box in scene.word.letter_boxes]) / scene.image.size[0]
    nearest = np.abs(_centres()[columns, None] - middles).argmin(1)
    return np.array([ord(scene.word.text[k]) - ord("A") for k in nearest])


class DenseHeads(nn.Module):
    """A linear head on the third stage's map, and one on the last, each of whose positions predicts 2 x 2 places."""

    def __init__(self, dims: tuple[int, ...]) -> None:
        super().__init__()
        outputs = sum(_CLASSES) + 4
        self.third = nn.Sequential(nn.LayerNorm(dims[2]), nn.Linear(dims[2], outputs))
        self.last = nn.Sequential(nn.LayerNorm(dims[3]), nn.Linear(dims[3], 4 * outputs))

    def forward(self, maps: list[Tensor], target: DenseTarget) -> Tensor:
        """Return the sum of both heads' losses, given the tower's maps (B, h, w, C)."""
        fine = F.pixel_shuffle(self.last(maps[3]).permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
        return _loss(self.third(maps[2]).float(), target) + _loss(fine.float(), target)


def _loss(predicted: Tensor, target: DenseTarget) -> Tensor:
    *scores, boxes = torch.split(predicted, [*_CLASSES, 4], -1)
    total = _box_loss(boxes, target)
    for k, score in enumerate(scores):
        wanted = target.classes[:, k].flatten()
        losses = F.cross_entropy(score.flatten(0, 2), wanted, reduction="none")
        total = total + _mean(losses, wanted != IGNORE)
    return total


def _box_loss(boxes: Tensor, target: DenseTarget) -> Tensor:
    distances = F.smooth_l1_loss(boxes, target.boxes, reduction="none", beta=0.05).mean(-1)
    return 10 * _mean(distances, target.classes[:, 0] > 0)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    return (values * where).sum() / where.sum().clamp(min=1)


def stack(targets: list[tuple[NDArray[np.int64], NDArray[np.float32]]]) -> DenseTarget:
    """Return the targets of several scenes as one batch."""
    classes, boxes = zip(*targets, strict=True)
    return DenseTarget(torch.from_numpy(np.stack(classes)), torch.from_numpy(np.stack(boxes)))
