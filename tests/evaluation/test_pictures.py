"""A picture is used in the size and orientation that its annotations refer to, or is left out and named."""

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
    """Write a COCO data set with one object, annotated in a picture of a size."""
    thing = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20], "segmentation": [[1, 2, 9, 2, 9, 9]]}
    image = {"id": 1, "file_name": "a.png", "width": size[0], "height": size[1]}
    instances = {"images": [image], "annotations": [thing], "categories": [{"id": 1, "name": "dog"}]}
    return write_json(folder / "instances.json", instances).parent


def refcoco(folder: Path, size: tuple[int, int]) -> Path:
    """Write a RefCOCO data set with one expression."""
    write_json(folder / "refs.json", [{"ref_id": 1, "ann_id": 1, "image_id": 1, "sentences": [{"sent": "dog"}]}])
    return coco(folder, size)


def expressions(folder: Path, size: tuple[int, int]) -> Path:
    """Write a RefCOCO data set as JSONL."""
    line = {"image": "a.png", "sent": "dog", "bbox": [1, 2, 3, 4], "width": size[0], "height": size[1]}
    return write_jsonl(folder / "x.jsonl", [line]).parent


def questions(folder: Path, size: tuple[int, int]) -> Path:
    """Write a JSONL of questions that gives the size of the picture."""
    asked = [{"task": "region_to_category", "region": [1, 2, 3, 4], "answer": "dog"}]
    line = {"image": "a.png", "questions": asked, "width": size[0], "height": size[1]}
    return write_jsonl(folder / "x.jsonl", [line]).parent


def flickr30k(folder: Path, size: tuple[int, int]) -> Path:
    """Write a Flickr30k Entities data set with one phrase; its XML gives the size."""
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
    """If the size fits the stored picture, it is not rotated, and a note says so."""
    write_rotated(tmp_path / "a.png", 6)
    checked = check_pictures(open_dataset(format_(tmp_path, STORED)))
    picture = load_image(as_annotated(checked.samples[0]))
    assert (picture.size, picture.getpixel((0, 47)), picture.getpixel((63, 0))) == (STORED, (255,) * 3, (0,) * 3)
    assert [line.split(":")[0] for line in summary(checked.notes)] == ["did not rotate 1 picture"]


@pytest.mark.parametrize("format_", FORMATS)
def test_annotated_as_rotated(format_: Any, tmp_path: Path) -> None:
    """If the size fits the rotated picture, the path is used, whose EXIF rotation is applied."""
    write_rotated(tmp_path / "a.png", 6)
    checked = check_pictures(open_dataset(format_(tmp_path, ROTATED)))
    assert as_annotated(checked.samples[0]) == tmp_path / "a.png"
    assert load_image(tmp_path / "a.png").size == ROTATED
    assert checked.notes == ()


@pytest.mark.parametrize("format_", FORMATS)
def test_another_size(format_: Any, tmp_path: Path) -> None:
    """A scaled picture is left out and named; if there is no other picture, that is an error."""
    write_rotated(tmp_path / "a.png", 1)
    dataset = open_dataset(format_(tmp_path, OTHER))
    with pytest.raises(
        DatasetError, match=r"none of the 1 pictures .* a(\.png)? \(64x48, its annotations are of 32x24\)"
    ):
        check_pictures(dataset)
    with pytest.raises(ImageError, match="64x48, its annotations are of 32x24"):
        as_annotated(dataset.samples[0])


def of_one(path: Path, question: Question, size: tuple[int, int] | None = None) -> Dataset:
    """Return a data set of one picture."""
    return Dataset("d", "k", (Sample(path.name, path, (question,), size),))


@pytest.mark.parametrize(
    ("orientation", "size", "annotated"), [(3, STORED, STORED), (6, (48, 48), (48, 48)), (6, STORED, None)]
)
def test_a_rotation_in_doubt(
    orientation: int, size: tuple[int, int], annotated: tuple[int, int] | None, tmp_path: Path
) -> None:
    """A rotation by 180 degrees, of a square or without a size is applied, and a note says so."""
    path = write_rotated(tmp_path / "a.png", orientation, size)
    checked = check_pictures(of_one(path, Question("<OD>", labels=("a",), boxes=((1, 2, 3, 4),)), annotated))
    assert as_annotated(checked.samples[0]) == path
    assert [line.split(":")[0] for line in summary(checked.notes)] == ["rotated 1 picture"]


def test_coordinates_out_of_the_picture(tmp_path: Path) -> None:
    """Without a size, coordinates outside the picture are noted, unless they are outside by rounding only."""
    path = write_rotated(tmp_path / "a.png", 1)
    near, far = (Question("<OD>", labels=("a",), boxes=((1, 2, x, 4),)) for x in (64.5, 70.0))
    assert check_pictures(of_one(path, near)).notes == ()
    (line,) = summary(check_pictures(of_one(path, far)).notes)
    assert line == "coordinates reach out of 1 picture: a.png (to 70x4 in a picture of 64x48)"


def test_words_about_a_picture_have_no_size(tmp_path: Path) -> None:
    """A scaled picture keeps its captions, because they do not depend on the size."""
    path = write_rotated(tmp_path / "a.png", 6)
    checked = check_pictures(of_one(path, Question("<CAPTION>", answers=("a dog",)), OTHER))
    assert (checked.notes, as_annotated(checked.samples[0])) == ((), path)


def test_pictures_that_cannot_be_opened(tmp_path: Path) -> None:
    """A missing file and a file that is no picture are left out beforehand; damaged EXIF data do not matter."""
    (tmp_path / "text.png").write_text("no picture")
    Image.new("RGB", STORED).save(tmp_path / "exif.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    asked = [{"task": "caption", "answers": ["a"]}]
    names = ("text.png", "missing.png", "exif.jpg")
    path = write_jsonl(tmp_path / "x.jsonl", [{"image": name, "questions": asked} for name in names])
    checked = check_pictures(open_dataset(path))
    assert [sample.name for sample in checked.samples] == ["exif.jpg"]
    assert [(note.name, note.reason.split(":")[0]) for note in checked.notes] == [
        ("text.png", "is not a picture in a format that Pillow reads"),
        ("missing.png", "is not there"),
    ]


def test_a_data_set_that_was_not_checked(tmp_path: Path) -> None:
    """``ask`` itself applies the size and orientation, so that unchecked data sets do not give wrong metrics."""
    write_rotated(tmp_path / "a.png", 6)
    model = TableModel({"<OD>": answer("<OD>")}, size=STORED)
    ask(model, open_dataset(coco(tmp_path, STORED)).samples)
    assert "PngImageFile" in model.read[0]
    with pytest.raises(DatasetError, match="64x48, its annotations are of 32x24"):
        ask(model, open_dataset(coco(tmp_path, OTHER)).samples)


@pytest.mark.parametrize("size", [STORED, ROTATED])
def test_metadata_with_a_damaged_entry(size: tuple[int, int], tmp_path: Path) -> None:
    """What Pillow warns about beside the orientation is nobody's business, whichever way the picture is taken."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    path = tmp_path / "a.jpg"
    Image.new("RGB", STORED).save(path, exif=exif)
    sound = path.read_bytes()
    claimed = sound.replace(b"\x01\x0e\x00\x02\x00\x00", b"\x01\x0e\x00\x02\x01\x00")
    assert claimed != sound
    path.write_bytes(claimed)
    sample = Sample("a", path, (Question("<OD>", labels=("dog",), boxes=((1, 2, 3, 4),)),), size)
    assert check_pictures(Dataset("", "", (sample,))).samples
    assert load_image(as_annotated(sample)).size == size
