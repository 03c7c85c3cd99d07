"""Results that are handed over: supervision gets arrays of its own types, and COCO's tools read the entries."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import supervision as sv
from faster_coco_eval import COCO

from f2edge.errors import InputError, MissingExtraError, TaskError
from f2edge.result import Result
from f2edge.tasks.answer_types import Answers
from tests.support.results import SIZE, result_of

if TYPE_CHECKING:
    from pathlib import Path

QUAD = (30.0, 10.0, 70.0, 20.0, 68.0, 40.0, 28.0, 30.0)
SQUARE = (10.0, 20.0, 29.0, 20.0, 29.0, 39.0, 10.0, 39.0)
BAR = (50.0, 20.0, 59.0, 20.0, 59.0, 24.0, 50.0, 24.0)
LINE = (1.0, 1.0, 5.0, 5.0)


def located(task: str = "<OD>", size: tuple[int, int] | None = (100, 80), **parts: Any) -> Result:
    """Return a result that locates the given things in a picture of this size."""
    return Result(task, "", (), (), 0.0, Answers(), image_size=size, **parts)


def boxes() -> Result:
    """Return two cats, of which one has its corners in the wrong order, and a dog between them."""
    places = ((10.0, 20.0, 30.0, 60.0), (1.5, 2.5, 3.5, 4.5), (90.0, 70.0, 40.0, 50.0))
    return located(labels=("cat", "naïve dog", "cat"), boxes=places, confidences=(0.9, 0.5, 0.25))


def masks() -> Result:
    """Return one object of two polygons, and one of a line, which has no area."""
    shapes = ((SQUARE, LINE, BAR), (LINE,))
    return located("<REFERRING_EXPRESSION_SEGMENTATION>", labels=("", ""), polygons=shapes, confidences=(0.8, 0.7))


def read_back(results: list[Any], tmp_path: Path, categories: dict[str, int]) -> COCO:
    """Return what COCO's reader makes of the entries, which went through JSON."""
    truth = {
        "info": {},
        "images": [{"id": 7, "width": 100, "height": 80}],
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
        "annotations": [],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(tmp_path / "truth.json")).loadRes(json.loads(json.dumps(results)))


def test_boxes_for_supervision() -> None:
    """Boxes, confidences, names and numbers keep their order; equal labels have equal numbers."""
    found = boxes().to_supervision()
    assert found.xyxy.tolist() == [[10, 20, 30, 60], [1.5, 2.5, 3.5, 4.5], [40, 50, 90, 70]]
    assert found.confidence.tolist() == [np.float32(0.9), 0.5, 0.25]
    assert found["class_name"].tolist() == ["cat", "naïve dog", "cat"]
    assert found.class_id.tolist() == [0, 1, 0]
    assert (found.xyxy.dtype, found.confidence.dtype, found.class_id.dtype) == (np.float32, np.float32, np.int64)
    assert found.mask is None


def test_quads_are_oriented_boxes() -> None:
    """A quad has its four corners where supervision looks for them, and its hull as the box."""
    result = located("<OCR_WITH_REGION>", labels=("STOP",), quads=(QUAD,), confidences=(0.5,))
    found = result.to_supervision()
    corners = found[sv.config.ORIENTED_BOX_COORDINATES]
    assert (corners.dtype, corners.tolist()) == (np.float32, [[[30, 10], [70, 20], [68, 40], [28, 30]]])
    assert found.xyxy.tolist() == [[28, 10, 70, 40]]
    assert result.to_supervision({"text": 4}).class_id.tolist() == [4]
    picture = np.zeros((80, 100, 3), np.uint8)
    assert sv.OrientedBoxAnnotator().annotate(picture.copy(), found).any()


def test_masks_of_several_polygons() -> None:
    """A mask is the union of its polygons; points and lines have no area, and count as nothing."""
    found = masks().to_supervision()
    expected = np.zeros((1, 80, 100), bool)
    expected[0, 20:40, 10:30] = expected[0, 20:25, 50:60] = True
    assert found.mask.dtype == bool
    assert np.array_equal(found.mask, expected)
    assert found.xyxy.tolist() == [[10, 20, 59, 39]]
    assert found.confidence.tolist() == [np.float32(0.8)]


def test_masks_stay_in_the_picture() -> None:
    """A point far outside, which an answer can spell, is moved to the border of the picture."""
    corner = (90.0, 70.0, 1e9, 70.0, 1e9, 1e9, 90.0, 1e9)
    (mask,) = located(labels=("",), polygons=((corner,),)).to_supervision().mask
    assert mask.sum() == mask[70:, 90:].sum() == 100


def test_masks_need_the_size_of_the_picture() -> None:
    """Masks without the picture's size are refused; a model's results have it."""
    with pytest.raises(InputError, match="set `image_size`"):
        located(size=None, labels=("",), polygons=((SQUARE,),)).to_supervision()
    assert result_of("od", "</s>", "<s>", "cat", *["<loc_1>"] * 4, "</s>").image_size == SIZE


@pytest.mark.parametrize("parts", [{}, {"labels": ("",), "polygons": ((LINE,),)}])
def test_nothing_located(parts: dict[str, Any]) -> None:
    """An answer without objects gives empty detections of the right types, and no entries."""
    found = located(**parts).to_supervision()
    assert found.is_empty()
    assert found.xyxy.shape == (0, 4)
    assert (found.xyxy.dtype, found.confidence.dtype) == (np.float32, np.float32)
    assert np.issubdtype(found.class_id.dtype, np.integer)
    assert found["class_name"].tolist() == []
    assert len(sv.Detections.merge([found, boxes().to_supervision()])) == 3
    assert located(**parts).to_coco(7) == []


def test_without_confidences() -> None:
    """Objects without confidences have none there either."""
    result = located(labels=("cat",), boxes=((1.0, 2.0, 3.0, 4.0),))
    assert result.to_supervision().confidence is None
    assert "score" not in result.to_coco(7)[0]


def test_coco_reads_boxes(tmp_path: Path) -> None:
    """COCO's reader finds each box under its number, with positive width and height."""
    categories = {"cat": 17, "naïve dog": 18}
    entries = boxes().to_coco(7, categories)
    assert [entry["category_name"] for entry in entries] == ["cat", "naïve dog", "cat"]
    assert "segmentation" not in entries[0]
    coco = read_back(entries, tmp_path, categories)
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[7], catIds=[17]))
    assert [one["bbox"] for one in annotations] == [[10, 20, 20, 40], [40, 50, 50, 20]]
    assert [one["score"] for one in annotations] == [0.9, 0.25]


def test_coco_reads_masks(tmp_path: Path) -> None:
    """COCO's reader makes one mask of an object's polygons; a line does not become a box."""
    entries = masks().to_coco(7, {"": 1})
    assert [entry["segmentation"] for entry in entries] == [[list(SQUARE), list(BAR)]]
    coco = read_back(entries, tmp_path, {"": 1})
    (annotation,) = coco.loadAnns(coco.getAnnIds())
    mask = coco.annToMask(annotation)
    assert mask.shape == (80, 100)
    assert mask[20:39, 10:29].all()
    assert mask[20:24, 50:59].all()
    assert mask.sum() == 19 * 19 + 9 * 4
    assert annotation["bbox"] == [10, 20, 49, 19]


def test_coco_text() -> None:
    """A line of text is of the category "text", and says what it reads."""
    result = located("<OCR_WITH_REGION>", labels=("STOP",), quads=(QUAD,), confidences=(0.5,))
    assert result.to_coco("a.jpg", {"text": 1}) == [
        {
            "image_id": "a.jpg",
            "category_id": 1,
            "category_name": "text",
            "bbox": [28, 10, 42, 30],
            "segmentation": [list(QUAD)],
            "score": 0.5,
            "utf8_string": "STOP",
        }
    ]


def test_categories_decide_the_numbers() -> None:
    """Labels have the numbers that the caller gives; without them an entry has a name alone."""
    found = boxes().to_supervision({"dog": 1, "naïve dog": 3, "cat": 5})
    assert found.class_id.tolist() == [5, 3, 5]
    assert "category_id" not in boxes().to_coco(7)[0]


def test_unknown_labels_are_refused() -> None:
    """A label without a number is named, an empty label is told, and a list is not a mapping."""
    for hand_over in (boxes().to_supervision, lambda known: boxes().to_coco(7, known)):
        with pytest.raises(InputError, match="the label 'naïve dog' has no number in `categories`"):
            hand_over({"cat": 1})
        with pytest.raises(InputError, match="`categories` is list, not a mapping"):
            hand_over(["cat", "naïve dog"])
    with pytest.raises(InputError, match="the empty label"):
        masks().to_coco(7, {"cat": 1})


@pytest.mark.parametrize("task", ["caption", "ocr", "region_to_category", ""])
def test_texts_are_refused(task: str) -> None:
    """A text locates nothing; it would be lost in an empty list."""
    result = result_of(task, "</s>", "<s>", "A cat", "</s>")
    for hand_over in (result.to_supervision, lambda: result.to_coco(7)):
        with pytest.raises(TaskError, match="is a text, which locates nothing: read `plain_text`"):
            hand_over()


def test_without_supervision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where supervision is not installed, one line says what to install; COCO needs nothing."""
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'f2edge\[supervision\]'"):
        boxes().to_supervision()
    assert len(boxes().to_coco(7)) == 3
