"""Drawing: located things and their captions appear at their place in the picture, for any answer."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import f2edge
from f2edge.draw import _marks, draw
from f2edge.errors import ImageError
from f2edge.result import Result

if TYPE_CHECKING:
    from pathlib import Path


def result(**located: Any) -> Result:
    """Return a result that has only the given located things."""
    return Result("<OD>", "", (), (), 0.0, {}, **located)


def grey(width: int = 200, height: int = 150) -> Image.Image:
    """Return a plain grey picture."""
    return Image.new("RGB", (width, height), (128, 128, 128))


def changed(after: Image.Image) -> Any:
    """Return the mask of the pixels that are no longer grey."""
    return (np.asarray(after) != 128).any(-1)


def test_nothing_located_changes_nothing() -> None:
    """If nothing was located, the result is an unchanged copy of the picture."""
    before = grey()
    after = draw(before, result())
    assert after is not before
    assert not changed(after).any()


def test_box_is_drawn_with_its_caption_above() -> None:
    """The outline is on the box, the caption above it; the inside is tinted, the rest untouched."""
    box = {"boxes": ((50.0, 60.0, 150.0, 120.0),)}
    where = changed(draw(grey(), result(labels=("cat",), confidences=(0.5,), **box)))
    assert where[60:121, 50].all()
    assert where[44:58, 52:80].all()
    assert not where[125:].any()
    assert not where[:, :45].any()


def test_small_confidences_have_a_decimal() -> None:
    """Small confidences have one decimal, so that they can be distinguished; others are whole numbers."""
    boxes = ((0.0, 0.0, 9.0, 9.0),) * 4
    marks = _marks(result(labels=("",) * 4, boxes=boxes, confidences=(0.0213, 0.0172, 0.1234, 0.999)), (20, 20))
    assert [mark.percent for mark in marks] == ["2.1%", "1.7%", "12%", "100%"]


def test_input_is_left_alone() -> None:
    """Drawing works on a copy, also for grey and transparent pictures."""
    for mode in ("RGB", "L", "RGBA"):
        before = Image.new(mode, (50, 50))
        after = draw(before, result(labels=("a",), boxes=((5.0, 5.0, 40.0, 40.0),)))
        assert (after.mode, after.size) == ("RGB", (50, 50))
        assert before.tobytes() == Image.new(mode, (50, 50)).tobytes()


def test_anything_that_is_a_picture(tmp_path: Path) -> None:
    """A path, the bytes of a file and an array give the same drawing as the PIL image."""
    boxes = result(labels=("a",), boxes=((5.0, 5.0, 40.0, 40.0),))
    expected = draw(grey(), boxes).tobytes()
    path = tmp_path / "grey.png"
    grey().save(path)
    for source in (path, str(path), path.read_bytes(), np.asarray(grey())):
        assert draw(source, boxes).tobytes() == expected
    with pytest.raises(ImageError, match="is not there"):
        draw(tmp_path / "no.png", boxes)


def test_it_is_a_function_of_the_package() -> None:
    """``f2edge.draw`` is the function, even after its module was imported."""
    importlib.import_module("f2edge.draw")
    assert f2edge.draw is draw


def test_annotations_can_be_drawn() -> None:
    """Any object with the five fields of a result can be drawn."""
    truth = SimpleNamespace(labels=["a"], boxes=[[5, 5, 40, 40]], quads=[], polygons=[], confidences=[])
    assert changed(draw(grey(), truth)).any()


def test_masks_let_the_picture_shine_through() -> None:
    """The inside of a mask mixes colours: neither the picture's nor the outline's alone."""
    after = draw(grey(), result(labels=("",), polygons=(((20.0, 20.0, 180.0, 20.0, 180.0, 140.0, 20.0, 140.0),),)))
    inside, outline = after.getpixel((100, 80)), after.getpixel((180, 80))
    assert inside not in ((128, 128, 128), outline)


def test_parts_of_a_mask_are_tinted_once() -> None:
    """Where two polygons of one object overlap, the tint is that of each alone."""
    parts = ((20.0, 20.0, 120.0, 20.0, 120.0, 140.0, 20.0, 140.0), (60.0, 40.0, 180.0, 40.0, 180.0, 120.0, 60.0, 120.0))
    after = draw(grey(), result(labels=("",), polygons=(parts,)))
    assert after.getpixel((40, 130)) == after.getpixel((90, 80)) == after.getpixel((150, 80)) != (128, 128, 128)


def test_slanted_outlines_are_smooth() -> None:
    """Along a slanted outline there are many shades between it and the picture; along a box there are few."""
    quad = (20.0, 60.0, 170.0, 20.0, 180.0, 70.0, 30.0, 110.0)
    slanted = draw(grey(), result(labels=("",), quads=(quad,)))
    upright = draw(grey(), result(labels=("",), boxes=((20.0, 60.0, 180.0, 110.0),)))
    assert len(slanted.getcolors()) > 30
    assert len(upright.getcolors()) <= 5


def test_outlines_stand_out_from_their_own_colour() -> None:
    """On a picture that has the colour of the outline, the outline is visible all the same."""
    boxes = {"labels": ("",), "boxes": ((50.0, 60.0, 150.0, 120.0),)}
    colour = draw(grey(), result(**boxes)).getpixel((50, 90))
    after = np.asarray(draw(Image.new("RGB", (200, 150), colour), result(**boxes)))
    assert (after[90] != colour).any(-1).sum() >= 4


def test_captions_leave_small_objects_visible() -> None:
    """In a row of small objects, no caption lies on one of them."""
    boxes = tuple((20.0 + 60 * i, 200.0, 50.0 + 60 * i, 230.0) for i in range(20))
    labels = tuple("window" if i % 2 else "door" for i in range(20))
    after = np.asarray(draw(grey(1280, 720), result(labels=labels, boxes=boxes, confidences=(0.9,) * 20)))
    insides = {tuple(after[205:225, round(x1) + 5 : round(x1) + 25].reshape(-1, 3).std(0)) for x1, *_ in boxes}
    assert insides == {(0.0, 0.0, 0.0)}
    assert changed(Image.fromarray(after))[:195].any()


def test_small_objects_are_on_top() -> None:
    """A small box inside a large one is drawn over it, whichever comes first."""
    large, small = (20.0, 20.0, 180.0, 140.0), (20.0, 60.0, 60.0, 100.0)
    alone = draw(grey(), result(labels=("", ""), boxes=(large, small)))
    swapped = draw(grey(), result(labels=("", ""), boxes=(small, large)))
    assert alone.getpixel((60, 80)) == (10, 124, 255)
    assert swapped.getpixel((60, 80)) == swapped.getpixel((20, 80)) == (230, 25, 75)


def test_same_label_same_colour() -> None:
    """Equal labels share a colour, different ones differ; things without labels differ."""
    boxes = tuple((10.0 + 60 * i, 50.0, 50.0 + 60 * i, 140.0) for i in range(3))
    for labels, equal in ((("a", "b", "a"), True), (("", "", ""), False)):
        after = draw(grey(), result(labels=labels, boxes=boxes))
        first, second, third = (after.getpixel((50 + 60 * i, 100)) for i in range(3))
        assert first != second
        assert (first == third) is equal


def test_captions_do_not_cover_each_other() -> None:
    """Two equal boxes have two captions, one below the other."""
    one = changed(draw(grey(), result(labels=("cat",), boxes=((60.0, 60.0, 61.0, 61.0),))))
    two = changed(draw(grey(), result(labels=("cat", "dog"), boxes=((60.0, 60.0, 61.0, 61.0),) * 2)))
    assert two.sum() > 1.5 * one.sum()


@pytest.mark.parametrize("size", [(1, 1), (3, 400), (400, 3)])
def test_tiny_pictures(size: tuple[int, int]) -> None:
    """A caption that does not fit into the picture is left out."""
    after = draw(grey(*size), result(labels=("cat",), boxes=((0.0, 0.0, 1.0, 1.0),), confidences=(0.5,)))
    assert after.size == size


coordinates = st.floats(0, 1e9, width=32)


@settings(deadline=None)
@given(
    boxes=st.lists(st.tuples(*[coordinates] * 4), max_size=4),
    label=st.text(max_size=300),
    points=st.integers(0, 3),
)
def test_any_answer_can_be_drawn(boxes: list[tuple[float, ...]], label: str, points: int) -> None:
    """Upside-down boxes, numbers out of range, polygons without points and any text can be drawn."""
    draw(grey(64, 48), result(labels=(label,) * len(boxes), boxes=tuple(boxes)))
    masks = tuple((box[: points // 2 * 2], box) for box in boxes)
    draw(grey(64, 48), result(labels=(label,) * len(boxes), polygons=masks, confidences=(0.1,) * len(boxes)))
