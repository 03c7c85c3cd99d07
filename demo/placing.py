"""Where shapes are placed: in a clear order from left to right, in a clear cell, and covered in part at most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shapes import COLOURS, KINDS, SIZES, Point, outline

if TYPE_CHECKING:
    import numpy as np
    from drawing import Layout

Box = tuple[float, float, float, float]
MIN_ORDER_GAP = 0.06  # least distance of centres in x, as a fraction of the width, so that left to right is unambiguous
MIN_CELL_GAP = 0.02  # least distance of a centre from the lines between thirds, as a fraction of the side
MAX_COVERED = 0.05  # largest part of a box that another one covers
MAX_COVERED_IN_A_CROWD = 0.4
CROWDED_SHARE = 0.35
_TRIES = 80


@dataclass(frozen=True)
class Shape:
    """One coloured shape; `box` is (x1, y1, x2, y2) in pixels of the picture, hidden parts included."""

    size: str
    colour: str
    kind: str
    box: Box

    @property
    def name(self) -> str:
        """The phrase that fits no other shape of the scene: colour and kind."""
        return f"{self.colour} {self.kind}"

    @property
    def centre(self) -> Point:
        """The centre of the box in pixels."""
        x1, y1, x2, y2 = self.box
        return (x1 + x2) / 2, (y1 + y2) / 2

    def polygon(self, circle_points: int = 12) -> list[Point]:
        """The outline in pixels, clockwise from the topmost point; hidden parts are included."""
        x1, y1, x2, y2 = self.box
        return [(x1 + x * (x2 - x1), y1 + y * (y2 - y1)) for x, y in outline(self.kind, circle_points)]


def place_shapes(size: tuple[int, int], layout: Layout | None, rng: np.random.Generator, new: str = "") -> list[Shape]:
    """Place one to four shapes of different names, from left to right; each is drawn over those before it.

    A shape for which there is no space is left out.  With a ``new`` kind, one shape at least is of it.
    """
    wanted = int(rng.choice([1, 2, 3, 4], p=[0.15, 0.3, 0.3, 0.25]))
    covered = MAX_COVERED_IN_A_CROWD if rng.random() < CROWDED_SHARE else MAX_COVERED
    shapes: list[Shape] = []
    known = (*KINDS, new) if new else KINDS
    for _ in range(_TRIES):
        candidate = _random_shape(size, rng, (new,) if new and not shapes else known)
        if _is_clear(candidate, layout, size) and all(_go_together(candidate, s, size, covered) for s in shapes):
            shapes.append(candidate)
        if len(shapes) == wanted:
            break
    return sorted(shapes, key=lambda shape: shape.centre[0])


def _random_shape(size: tuple[int, int], rng: np.random.Generator, kinds: tuple[str, ...]) -> Shape:
    name = str(rng.choice(list(SIZES), p=[0.2, 0.4, 0.4]))
    side = rng.uniform(*SIZES[name]) * sum(size) / 2
    x, y = rng.uniform(2, size[0] - side - 2), rng.uniform(2, size[1] - side - 2)
    box = (float(x), float(y), float(x + side), float(y + side))
    return Shape(name, str(rng.choice(list(COLOURS))), str(rng.choice(kinds)), box)


def _is_clear(shape: Shape, layout: Layout | None, size: tuple[int, int]) -> bool:
    """Tell whether a shape leaves the word free, and whether its centre is well within a third of each side."""
    if layout is not None and overlap(shape.box, layout.box) > 0:
        return False
    fractions = [value / side for value, side in zip(shape.centre, size, strict=True)]
    return all(abs(fraction - line) > MIN_CELL_GAP for fraction in fractions for line in (1 / 3, 2 / 3))


def _go_together(a: Shape, b: Shape, size: tuple[int, int], covered: float) -> bool:
    """Tell whether two shapes can be told apart, and neither their order nor the one beneath is in doubt."""
    if a.name == b.name or abs(a.centre[0] - b.centre[0]) <= MIN_ORDER_GAP * size[0]:
        return False
    beneath, above = sorted((a, b), key=lambda shape: shape.centre[0])
    share = overlap(beneath.box, above.box) / _area(beneath.box)
    return share <= covered and (share == 0 or a.colour != b.colour)


def overlap(a: Box, b: Box) -> float:
    """Return the area that two boxes have in common, in square pixels."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
