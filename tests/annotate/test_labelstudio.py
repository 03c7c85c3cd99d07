"""Tasks of Label Studio: its own reader takes them, and gives back the same boxes, masks and words."""

from __future__ import annotations

import gc
import json
import warnings
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from f2edge.annotate.directory import Directory, open_directory
from f2edge.annotate.exporting import export
from f2edge.annotate.labelstudio import one_line
from f2edge.annotate.records import Record
from f2edge.annotate.settings import Settings
from f2edge.annotate.sources import find_pictures
from f2edge.errors import AnnotationError
from tests.support.annotations import SIZE, description, phrase, region, text, write_photos

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from f2edge.annotate.sources import Pictures

QUAD = (10.5, 10, 60, 12, 60, 30, 10.5, 28)
MASK = ((5.0, 5.0, 25.0, 5.0, 25.0, 25.0), (30.0, 30.0, 40.0, 30.0, 40.0, 40.0, 30.0, 40.0))
CAPTION = text('a "red" star <above> a ring')
STRANGE = 'red "star" <1>\n& more\x00'


def sdk(module: str) -> Any:
    """Return a module of Label Studio's SDK, or skip: its dependencies pin an older numpy than that of this project."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of pydantic
        reason = "install label-studio-sdk into an environment of its own to run this test"
        return pytest.importorskip(f"label_studio_sdk.{module}", reason=reason)


def records(image: str) -> list[Record]:
    """Return records of every kind, kept and dropped."""
    made = [
        Record("", *SIZE, "picture"),
        CAPTION,
        region(STRANGE, (5, 5, 40.25, 41)),
        region("ring", (50, 60, 110, 90), 0.7),
        region("ring", (51, 60, 110, 90), 0.5).dropped("duplicate"),
        region("a red star", (5, 5, 40, 41), task="dense_region_caption"),
        region("", (5, 5, 40, 41), task="region_proposal"),
        region("STOP", (10.5, 10, 60, 30), task="ocr_with_region", quad=QUAD),
        phrase("red star", (5, 5, 40, 40), CAPTION, task="referring_expression_segmentation", polygons=MASK),
    ]
    return [Record(**{**vars(one), "image": image}) for one in made]


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    """Write two pictures, the second of which cannot be read."""
    write_photos(tmp_path / "photos", 2)
    (tmp_path / "photos" / "00.png").rename(tmp_path / "photos" / "a & b.png")
    (tmp_path / "photos" / "broken.png").write_bytes(b"broken")
    (tmp_path / "photos" / "01.png").unlink()
    return find_pictures(str(tmp_path / "photos"))


@pytest.fixture
def run(pictures: Pictures, tmp_path: Path) -> Iterator[Directory]:
    """Write a run about them, and export it."""
    with open_directory(tmp_path / "out", description(2, Settings(shard=2))) as directory:
        first, lost = (picture.id for picture in pictures.pictures)
        directory.write(0, [*records(first), Record(lost, 0, 0, "picture").dropped("unreadable", "broken")])
        export(directory, pictures, "labelstudio")
        yield directory


def the_task(run: Directory) -> dict[str, Any]:
    """Return the only task."""
    (task,) = json.loads((run.place / "labelstudio" / "tasks.json").read_text())
    return dict(task)


def of_control(task: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the results of a control."""
    return [one for one in task["predictions"][0]["result"] if one["from_name"] == name]


def corners(value: dict[str, float]) -> list[float]:
    """Return x1, y1, x2, y2 in pixels of a rectangle in per cent."""
    x, y, width, height = (value[name] for name in ("x", "y", "width", "height"))
    return [share * side / 100 for share, side in zip((x, y, x + width, y + height), SIZE * 2, strict=True)]


def test_shapes_come_back(run: Directory) -> None:
    """Boxes and polygons are in per cent of the picture; a mask of two polygons is two regions."""
    task = the_task(run)
    boxes = [corners(one["value"]) for one in of_control(task, "od")]
    assert np.allclose(boxes, [(5, 5, 40.25, 41), (50, 60, 110, 90)])
    outlines = [*of_control(task, "referring_expression_segmentation"), *of_control(task, "ocr_with_region")]
    for one, shape in zip(outlines, (*MASK, QUAD), strict=True):
        assert np.allclose(np.array(one["value"]["points"]) * SIZE / 100, np.array(shape).reshape(-1, 2))
    assert [one["score"] for one in of_control(task, "od")] == [0.9, 0.7]
    assert task["predictions"][0]["score"] == pytest.approx((0.9 * 6 + 0.7) / 7)


def test_label_studio_takes_it(run: Directory) -> None:
    """Its own check finds no fault in the configuration, nor in the prediction."""
    project = sdk("label_interface").LabelInterface((run.place / "labelstudio" / "config.xml").read_text("utf-8"))
    project.validate()
    assert project.validate_prediction(the_task(run)["predictions"][0], return_errors=True) == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # its converter leaves files to the garbage collector
def test_its_converter_gives_the_boxes_back(run: Directory, tmp_path: Path) -> None:
    """Corrected as they are and exported as COCO, the boxes, masks and labels are those that were kept."""
    task = the_task(run)
    (tmp_path / "corrected.json").write_text(json.dumps([{**task, "annotations": task["predictions"]}]))
    converter = sdk("converter").Converter(str(run.place / "labelstudio" / "config.xml"), str(tmp_path))
    converter.convert(str(tmp_path / "corrected.json"), str(tmp_path / "coco"), "COCO", is_dir=False)
    gc.collect()
    made = json.loads((tmp_path / "coco" / "result.json").read_text())
    names = {one["id"]: one["name"] for one in made["categories"]}
    found = [(names[one["category_id"]], one["bbox"], one["segmentation"]) for one in made["annotations"]]
    boxes = [(name, box) for name, box, outline in found if not outline]
    truth = [('red "star" <1> & more', [5, 5, 35.25, 36]), ("ring", [50, 60, 60, 30])] + [
        ("object", [5, 5, 35, 36])
    ] * 2
    assert [name for name, _ in boxes] == [name for name, _ in truth]
    assert np.allclose([box for _, box in boxes], [box for _, box in truth])
    outlines = [(name, outline[0]) for name, _, outline in found if outline]
    assert [name for name, _ in outlines] == ["text", "object", "object"]
    assert all(np.allclose(one, shape) for (_, one), shape in zip(outlines, (QUAD, *MASK), strict=True))


def test_words_belong_to_their_regions(run: Directory) -> None:
    """Words have the id of their region, and texts stand by themselves; phrases tell of which text they are."""
    task = the_task(run)
    for name, words in (("dense_region_caption", "a red star"), ("ocr_with_region", "STOP")):
        (shape,), (told,) = of_control(task, name), of_control(task, f"{name}_words")
        assert (told["id"], told["value"]["text"]) == (shape["id"], [words])
    assert of_control(task, "region_proposal_words") == []
    assert of_control(task, "caption")[0]["value"]["text"] == [CAPTION.text]
    assert of_control(task, "referring_expression_segmentation")[0]["meta"] == {"text": [CAPTION.text]}


def test_every_result_has_its_control(run: Directory) -> None:
    """The configuration has each control once, with all labels, whatever characters they have."""
    root = ET.parse(run.place / "labelstudio" / "config.xml").getroot()  # noqa: S314 - our own
    controls = {one.get("name"): one for one in root if one.get("toName")}
    task = the_task(run)
    for one in task["predictions"][0]["result"]:
        control = controls[one["from_name"]]
        assert control.tag.lower() == one["type"]
        labels = {label.get("value") for label in control}
        assert set(one["value"].get(one["type"], ())) <= labels
    assert [label.get("value") for label in controls["od"]] == ['red "star" <1> & more', "ring"]
    assert "caption_to_phrase_grounding" not in controls


def test_the_picture_is_there(run: Directory, pictures: Pictures) -> None:
    """The address of a task leads to the picture in the directory; a picture that cannot be read has no task."""
    data = the_task(run)["data"]
    address = unquote(data["image"].removeprefix("/data/local-files/?d="))
    assert (run.place / "labelstudio" / address).read_bytes() == pictures.pictures[0].read()
    assert data["id"] == "a & b.png"


def test_paths_that_would_clash(tmp_path: Path) -> None:
    """Pictures whose ids differ only by what leads out of the folder are refused; nothing is left of the try."""
    write_photos(tmp_path / "a", 1)
    write_photos(tmp_path / "lists" / "a", 1)
    (tmp_path / "lists" / "list.txt").write_text("a/00.png\n../a/00.png\n")
    found = find_pictures(str(tmp_path / "lists" / "list.txt"))
    with open_directory(tmp_path / "out", description(2, Settings(shard=2))) as run:
        run.write(0, [Record(one.id, *SIZE, "picture") for one in found.pictures])
        with pytest.raises(AnnotationError, match=r"\.\./a/00\.png would have the same path"):
            export(run, found, "labelstudio")
        assert not list(run.place.glob("*labelstudio*"))


@pytest.mark.parametrize(
    ("label", "expected"),
    [("a\n\tb", "a b"), ("\x00\x07", "object"), ("", "object"), ("caf\u00e9 \ufffe", "caf\u00e9")],
)
def test_labels_on_one_line(label: str, expected: str) -> None:
    """A label has no character that XML changes or does not have."""
    assert one_line(label) == expected
