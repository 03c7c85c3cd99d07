"""A picture is asked about in the size and the orientation that its annotations are of, or is left out and named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from f2edge.errors import DatasetError, ImageError
from f2edge.evaluation import Dataset, Question, Sample, ask, open_dataset
from f2edge.evaluation.pictures import as_annotated, check_pictures
from f2edge.evaluation.samples import summary
from f2edge.image import load_image
from tests.support.evaluations import TableModel, answer, write_json, write_jsonl

if TYPE_CHECKING:
    from pathlib import Path

STORED, ROTATED, OTHER = (64, 48), (48, 64), (32, 24)


def write_rotated(path: Path, orientation: int, size: tuple[int, int] = STORED) -> Path:
    """Write a picture whose left half is white, with an EXIF orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((size[1], size[0]), np.uint8)
    pixels[:, : size[0] // 2] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def coco(folder: Path, size: tuple[int, int]) -> Path:
    """COCO with one object, annotated in a picture of a size."""
    thing = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20], "segmentation": [[1, 2, 9, 2, 9, 9]]}
    image = {"id": 1, "file_name": "a.png", "width": size[0], "height": size[1]}
    instances = {"images": [image], "annotations": [thing], "categories": [{"id": 1, "name": "dog"}]}
    return write_json(folder / "instances.json", instances).parent


def refcoco(folder: Path, size: tuple[int, int]) -> Path:
    """RefCOCO with one expression."""
    write_json(folder / "refs.json", [{"ref_id": 1, "ann_id": 1, "image_id": 1, "sentences": [{"sent": "dog"}]}])
    return coco(folder, size)


def expressions(folder: Path, size: tuple[int, int]) -> Path:
    """RefCOCO as JSONL."""
    line = {"image": "a.png", "sent": "dog", "bbox": [1, 2, 3, 4], "width": size[0], "height": size[1]}
    return write_jsonl(folder / "x.jsonl", [line]).parent


def questions(folder: Path, size: tuple[int, int]) -> Path:
    """A JSONL of questions that says the size."""
    asked = [{"task": "region_to_category", "region": [1, 2, 3, 4], "answer": "dog"}]
    line = {"image": "a.png", "questions": asked, "width": size[0], "height": size[1]}
    return write_jsonl(folder / "x.jsonl", [line]).parent


def flickr30k(folder: Path, size: tuple[int, int]) -> Path:
    """Flickr30k Entities with one phrase; its XML has the size."""
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>"
    side = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    for name, text in (
        ("Sentences/a.txt", "[/EN#1/other a dog]"),
        ("Annotations/a.xml", f"<annotation>{side}<object><name>1</name>{box}</object></annotation>"),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


FORMATS = (coco, refcoco, expressions, questions, flickr30k)


@pytest.mark.parametrize("format_", FORMATS)
def test_annotated_without_the_rotation(format_: Any, tmp_path: Path) -> None:
    """The size is that of the file as it is stored: it is not rotated, which is said."""
    write_rotated(tmp_path / "a.png", 6)
    found = check_pictures(open_dataset(format_(tmp_path, STORED)))
    picture = load_image(as_annotated(found.samples[0]))
    assert (picture.size, picture.getpixel((0, 47)), picture.getpixel((63, 0))) == (STORED, (255,) * 3, (0,) * 3)
    assert [line.split(":")[0] for line in summary(found.notes)] == ["did not rotate 1 picture"]


@pytest.mark.parametrize("format_", FORMATS)
def test_annotated_as_rotated(format_: Any, tmp_path: Path) -> None:
    """The size is that of the rotated picture, which a path gives."""
    write_rotated(tmp_path / "a.png", 6)
    found = check_pictures(open_dataset(format_(tmp_path, ROTATED)))
    assert as_annotated(found.samples[0]) == tmp_path / "a.png"
    assert load_image(tmp_path / "a.png").size == ROTATED
    assert found.notes == ()


@pytest.mark.parametrize("format_", FORMATS)
def test_another_size(format_: Any, tmp_path: Path) -> None:
    """A picture that was scaled is left out and named, or is the error if there is no other."""
    write_rotated(tmp_path / "a.png", 1)
    dataset = open_dataset(format_(tmp_path, OTHER))
    with pytest.raises(
        DatasetError, match=r"none of the 1 pictures .* a(\.png)? \(64x48, its annotations are of 32x24\)"
    ):
        check_pictures(dataset)
    with pytest.raises(ImageError, match="64x48, its annotations are of 32x24"):
        as_annotated(dataset.samples[0])


def of_one(path: Path, question: Question, size: tuple[int, int] | None = None) -> Dataset:
    """A data set of one picture."""
    return Dataset("d", "k", (Sample(path.name, path, (question,), size),))


@pytest.mark.parametrize(
    ("orientation", "size", "annotated"), [(3, STORED, STORED), (6, (48, 48), (48, 48)), (6, STORED, None)]
)
def test_a_rotation_in_doubt(
    orientation: int, size: tuple[int, int], annotated: tuple[int, int] | None, tmp_path: Path
) -> None:
    """By 180 degrees, of a square, or without a size: it is rotated, as everywhere in f2edge, and that is said."""
    path = write_rotated(tmp_path / "a.png", orientation, size)
    found = check_pictures(of_one(path, Question("<OD>", labels=("a",), boxes=((1, 2, 3, 4),)), annotated))
    assert as_annotated(found.samples[0]) == path
    assert [line.split(":")[0] for line in summary(found.notes)] == ["rotated 1 picture"]


def test_coordinates_out_of_the_picture(tmp_path: Path) -> None:
    """Without a size, they show that a picture was scaled or rotated; a rounded one does not."""
    path = write_rotated(tmp_path / "a.png", 1)
    near, far = (Question("<OD>", labels=("a",), boxes=((1, 2, x, 4),)) for x in (64.5, 70.0))
    assert check_pictures(of_one(path, near)).notes == ()
    (line,) = summary(check_pictures(of_one(path, far)).notes)
    assert line == "coordinates reach out of 1 picture: a.png (to 70x4 in a picture of 64x48)"


def test_words_about_a_picture_have_no_size(tmp_path: Path) -> None:
    """Captions of a scaled picture are as true as before."""
    path = write_rotated(tmp_path / "a.png", 6)
    found = check_pictures(of_one(path, Question("<CAPTION>", answers=("a dog",)), OTHER))
    assert (found.notes, as_annotated(found.samples[0])) == ((), path)


def test_pictures_that_cannot_be_opened(tmp_path: Path) -> None:
    """Missing, no picture, damaged EXIF: the first two are left out before the first question, the third is sound."""
    (tmp_path / "text.png").write_text("no picture")
    Image.new("RGB", STORED).save(tmp_path / "exif.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    asked = [{"task": "caption", "answers": ["a"]}]
    names = ("text.png", "missing.png", "exif.jpg")
    path = write_jsonl(tmp_path / "x.jsonl", [{"image": name, "questions": asked} for name in names])
    found = check_pictures(open_dataset(path))
    assert [sample.name for sample in found.samples] == ["exif.jpg"]
    assert [(note.name, note.reason.split(":")[0]) for note in found.notes] == [
        ("text.png", "is not a picture in a format that Pillow reads"),
        ("missing.png", "is not there"),
    ]


def test_a_data_set_that_was_not_checked(tmp_path: Path) -> None:
    """Python code that asks right away does not get wrong metrics either."""
    write_rotated(tmp_path / "a.png", 6)
    model = TableModel({"<OD>": answer("<OD>")}, size=STORED)
    ask(model, open_dataset(coco(tmp_path, STORED)).samples)
    assert "PngImageFile" in model.read[0]
    with pytest.raises(DatasetError, match="64x48, its annotations are of 32x24"):
        ask(model, open_dataset(coco(tmp_path, OTHER)).samples)
