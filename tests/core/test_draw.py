"""Drawing: things and their captions appear, in the picture, whatever the answer was."""

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
    """A result that only has what is located."""
    return Result("<OD>", "", (), (), 0.0, {}, **located)


def grey(width: int = 200, height: int = 150) -> Image.Image:
    """A plain picture."""
    return Image.new("RGB", (width, height), (128, 128, 128))


def changed(after: Image.Image) -> Any:
    """Where the picture is no longer grey."""
    return (np.asarray(after) != 128).any(-1)


def test_nothing_located_changes_nothing() -> None:
    """The picture comes back as a copy."""
    before = grey()
    after = draw(before, result())
    assert after is not before
    assert not changed(after).any()


def test_box_is_drawn_with_its_caption_above() -> None:
    """The outline is on the box, the caption above it, the inside only tinted, the rest untouched."""
    box = {"boxes": ((50.0, 60.0, 150.0, 120.0),)}
    where = changed(draw(grey(), result(labels=("cat",), confidences=(0.5,), **box)))
    assert where[60:121, 50].all()
    assert where[44:58, 52:80].all()
    assert not where[125:].any()
    assert not where[:, :45].any()


def test_confidences_are_told_apart() -> None:
    """Small ones have a digit behind the point."""
    boxes = ((0.0, 0.0, 9.0, 9.0),) * 2
    marks = _marks(result(labels=("cat", "dog"), boxes=boxes, confidences=(0.0213, 0.0172)), (20, 20))
    assert [mark.percent for mark in marks] == ["2.1%", "1.7%"]


def test_input_is_left_alone() -> None:
    """Drawing works on a copy, also of a grey or transparent picture."""
    for mode in ("RGB", "L", "RGBA"):
        before = Image.new(mode, (50, 50))
        after = draw(before, result(labels=("a",), boxes=((5.0, 5.0, 40.0, 40.0),)))
        assert (after.mode, after.size) == ("RGB", (50, 50))
        assert before.tobytes() == Image.new(mode, (50, 50)).tobytes()


def test_anything_that_is_a_picture(tmp_path: Path) -> None:
    """A path, the bytes of a file and an array give what the PIL image gives."""
    boxes = result(labels=("a",), boxes=((5.0, 5.0, 40.0, 40.0),))
    expected = draw(grey(), boxes).tobytes()
    path = tmp_path / "grey.png"
    grey().save(path)
    for source in (path, str(path), path.read_bytes(), np.asarray(grey())):
        assert draw(source, boxes).tobytes() == expected
    with pytest.raises(ImageError, match="is not there"):
        draw(tmp_path / "no.png", boxes)


def test_it_is_a_function_of_the_package() -> None:
    """Whatever has imported its module before."""
    importlib.import_module("f2edge.draw")
    assert f2edge.draw is draw


def test_annotations_can_be_drawn() -> None:
    """Anything that has the five fields will do."""
    truth = SimpleNamespace(labels=["a"], boxes=[[5, 5, 40, 40]], quads=[], polygons=[], confidences=[])
    assert changed(draw(grey(), truth)).any()


def test_masks_let_the_picture_shine_through() -> None:
    """The inside is a mixture: not the picture's colour, not the outline's."""
    after = draw(grey(), result(labels=("",), polygons=(((20.0, 20.0, 180.0, 20.0, 180.0, 140.0, 20.0, 140.0),),)))
    inside, outline = after.getpixel((100, 80)), after.getpixel((180, 80))
    assert inside not in ((128, 128, 128), outline)


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
    """A caption that finds no room is left out."""
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
    """Upside-down boxes, numbers out of range, polygons without points, any letters."""
    draw(grey(64, 48), result(labels=(label,) * len(boxes), boxes=tuple(boxes)))
    masks = tuple((box[: points // 2 * 2], box) for box in boxes)
    draw(grey(64, 48), result(labels=(label,) * len(boxes), polygons=masks, confidences=(0.1,) * len(boxes)))
