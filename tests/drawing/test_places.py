"""Places of captions: at the object if possible, and beside other objects."""

from __future__ import annotations

import numpy as np
import pytest

from f2edge.drawing.places import nearest, place

PICTURE = (400, 300)
SIZE = (60.0, 20.0)
BOX = (100.0, 100.0, 200.0, 200.0)


def chosen(*objects: tuple[float, float, float, float], taken: list[tuple[float, float, float, float]]) -> object:
    """Return the place of the caption of the first object."""
    return place(SIZE, PICTURE, 0, np.array(objects), taken)


def test_the_first_place_is_above() -> None:
    """A caption is above its object, at the left; if that is taken, close to it."""
    assert chosen(BOX, taken=[]) == (100, 80, 160, 100)
    x1, y1, x2, y2 = chosen(BOX, taken=[(90, 90, 130, 99)])  # type: ignore[misc]
    assert (y1, y2) == (80, 100)
    assert 130 <= x1 < x2 <= 200


def test_small_objects_stay_visible() -> None:
    """A caption goes below its object rather than over a small one above, but a large one does not matter."""
    above = [(100.0 + 20 * i, 82.0, 112.0 + 20 * i, 96.0) for i in range(5)]
    assert chosen(BOX, *above, taken=[]) == (100, 200, 160, 220)
    assert chosen(BOX, (0.0, 0.0, 400.0, 300.0), taken=[]) == (100, 80, 160, 100)


def test_places_are_inside_the_picture() -> None:
    """A caption of an object in a corner is moved into the picture."""
    for x, y in ((0, 0), (390, 0), (0, 290), (390, 290)):
        x1, y1, x2, y2 = chosen((x, y, x + 9.0, y + 9.0), taken=[])  # type: ignore[misc]
        assert 0 <= x1 < x2 < 400
        assert 0 <= y1 < y2 < 300


def test_no_place() -> None:
    """Where another caption covers all, there is no place."""
    assert chosen(BOX, taken=[(0, 0, 400, 300)]) is None


@pytest.mark.parametrize(
    ("caption", "ends"),
    [
        ((90, 20, 110, 40), ((100, 40), (100, 100))),
        ((0, 0, 50, 50), ((50, 50), (100, 100))),
        ((90, 90, 110, 110), None),
    ],
)
def test_nearest_points(caption: tuple[float, float, float, float], ends: object) -> None:
    """The line between a caption and its object is short, and has no length where they touch."""
    start, end = nearest(caption, [[(100, 100), (200, 100), (200, 200), (100, 200)]])
    assert ((start, end) == ends) if ends else (start == end)
