"""The shapes of the objects that each parser reads, as runs of location tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from f2edge.tasks.table import Parser

PAIR = 2
"""Location tokens of a point."""


class Shape(NamedTuple):
    """A shape as location tokens.

    Args:
        size: their number; the least one if it is open.
        ordered: whether the second pair is not less than the first: x1 <= x2, y1 <= y2.
        open: whether more pairs may follow.
    """

    size: int
    ordered: bool = False
    open: bool = False

    def lowest(self, bins: tuple[int, ...]) -> int:
        """Return the least bin that may follow these."""
        return bins[-PAIR] if self.ordered and len(bins) >= PAIR else 0


class Form(NamedTuple):
    """The shapes of an answer.

    Args:
        shape: each shape that has no tags around it.
        repeats: whether a label may have several shapes.
        tags: whether ``<poly>`` and ``</poly>`` around polygons may stand in place of it.
    """

    shape: Shape
    repeats: bool = True
    tags: bool = False


BOX, QUAD, POLYGON = Shape(4, ordered=True), Shape(8), Shape(6, open=True)

FORMS: dict[Parser, Form] = {
    "boxes": Form(BOX),
    "grounding": Form(BOX),
    "ocr": Form(QUAD, repeats=False),
    "polygons": Form(POLYGON, tags=True),
    "boxes_or_polygons": Form(BOX, tags=True),
}
"""The form of what each parser reads; answers that are plain text have none."""
