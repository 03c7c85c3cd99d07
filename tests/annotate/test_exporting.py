"""What is kept, in other formats: their own readers give back the same boxes, masks and words."""

from __future__ import annotations

import gc
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import supervision as sv
import webdataset as wds
import yaml
from pycocotools.coco import COCO

from f2edge.annotate.directory import Directory, open_directory
from f2edge.annotate.exporting import WRITERS, export
from f2edge.annotate.records import Record
from f2edge.annotate.settings import Settings
from f2edge.annotate.sources import find_pictures
from f2edge.errors import AnnotationError
from f2edge.evaluation import open_dataset
from tests.support.annotations import SIZE, description, phrase, region, text, write_photos

if TYPE_CHECKING:
    from collections.abc import Iterator

    from f2edge.annotate.sources import Pictures

COUNT = 3
QUAD = (10.5, 10, 60, 12, 60, 30, 10.5, 28)
MASK = ((5.0, 5.0, 25.0, 5.0, 25.0, 25.0), (30.0, 30.0, 40.0, 30.0, 40.0, 40.0, 30.0, 40.0))
CAPTION = text("a red star above a ring")


def records(image: str) -> list[Record]:
    """Return records of every kind, kept and dropped."""
    star = phrase("red star", (5, 5, 40, 40), CAPTION, task="referring_expression_segmentation", polygons=MASK)
    made = [
        Record("", *SIZE, "picture"),
        CAPTION,
        text("dropped", "detailed_caption").dropped("objects"),
        region("red star", (5, 5, 40.25, 41)),
        region("ring", (50, 60, 110, 90), 0.7),
        region("ring", (51, 60, 110, 90), 0.5).dropped("duplicate"),
        region("a red star", (5, 5, 40, 41), task="dense_region_caption"),
        region("", (5, 5, 40, 41), task="region_proposal"),
        region("STOP", (10.5, 10, 60, 30), task="ocr_with_region", quad=QUAD),
        phrase("red star", (5, 5, 40, 40), CAPTION),
        star,
    ]
    return [replace(one, image=image) for one in made]


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    """Write pictures, the last of which cannot be read."""
    write_photos(tmp_path / "photos", COUNT)
    (tmp_path / "photos" / "02.png").write_bytes(b"broken")
    return find_pictures(str(tmp_path / "photos"))


@pytest.fixture
def run(pictures: Pictures, tmp_path: Path) -> Iterator[Directory]:
    """Write a run about them: two shards."""
    with open_directory(tmp_path / "out", description(COUNT, Settings(shard=2))) as directory:
        first, second, lost = (picture.id for picture in pictures.pictures)
        directory.write(0, [*records(first), *records(second)])
        directory.write(1, [Record(lost, 0, 0, "picture").dropped("unreadable", "broken")])
        yield directory


def kept(run: Directory, task: str) -> list[Record]:
    """Return the kept records of a task."""
    return [one for shard in range(2) for one in run.read(shard) if one.task == task and one.kept]


def corners(bbox: list[float]) -> list[float]:
    """Return x1, y1, x2, y2 of a box of COCO."""
    x, y, width, height = bbox
    return [x, y, x + width, y + height]


def test_coco_by_pycocotools(run: Directory, pictures: Pictures, capsys: pytest.CaptureFixture[str]) -> None:
    """Boxes, masks, quads, labels and captions come back; dropped ones and unreadable pictures are not there."""
    export(run, pictures, "coco")
    for task in run.description.tasks:
        (path,) = (run.place / "coco").glob(f"*s_{task}.json")
        coco = COCO(str(path))
        found = coco.loadAnns(coco.getAnnIds())
        assert [one["file_name"] for one in coco.loadImgs(coco.getImgIds())] == ["00.png", "01.png"]
        truth = kept(run, task)
        assert [coco.imgs[one["image_id"]]["file_name"] for one in found] == [one.image for one in truth]
        if path.name.startswith("captions"):
            assert [one["caption"] for one in found] == [one.text for one in truth]
            continue
        assert np.allclose([corners(one["bbox"]) for one in found], [one.box for one in truth], atol=1e-5)
        assert [one["segmentation"] for one in found] == [
            [list(shape) for shape in one.polygons or ([one.quad] if one.quad else [])] for one in truth
        ]
    capsys.readouterr()
    coco = COCO(str(run.place / "coco" / "instances_od.json"))
    assert {one["name"] for one in coco.loadCats(coco.getCatIds())} == {"red star", "ring"}
    names = {one["id"]: one["name"] for one in coco.loadCats(coco.getCatIds())}
    assert [names[one["category_id"]] for one in coco.loadAnns(coco.getAnnIds())] == ["red star", "ring"] * 2


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
def test_areas_of_coco(run: Directory, pictures: Pictures, capsys: pytest.CaptureFixture[str]) -> None:
    """The area is that of the mask or quad, and within a few pixels of what pycocotools paints."""
    export(run, pictures, "coco")
    coco = COCO(str(run.place / "coco" / "instances_referring_expression_segmentation.json"))
    for one in coco.loadAnns(coco.getAnnIds()):
        assert one["area"] == 300
        assert coco.annToMask(one).sum() == pytest.approx(one["area"], rel=0.15)
        assert (one["caption"], one["text"]) == ("red star", CAPTION.text)
    capsys.readouterr()
    words = json.loads((run.place / "coco" / "instances_ocr_with_region.json").read_text())
    assert words["annotations"][0]["utf8_string"] == "STOP"
    assert words["annotations"][0]["area"] == pytest.approx(49.5 * 18)


def test_coco_by_f2edge_eval(run: Directory, pictures: Pictures) -> None:
    """A file of instances or captions is a data set of ``f2edge eval``."""
    export(run, pictures, "coco")
    objects = open_dataset(run.place / "coco" / "instances_od.json")
    truth = kept(run, "od")
    assert [box for one in objects.samples for box in one.questions[0].boxes] == [one.box for one in truth]
    assert [label for one in objects.samples for label in one.questions[0].labels] == [one.label for one in truth]
    captions = open_dataset(run.place / "coco" / "captions_caption.json")
    assert [one.questions[0].answers for one in captions.samples] == [(CAPTION.text,)] * 2


def test_yolo_by_supervision(run: Directory, pictures: Pictures) -> None:
    """Objects come back with their boxes and names, for every picture that can be read."""
    export(run, pictures, "yolo")
    place = run.place / "yolo"
    data = sv.DetectionDataset.from_yolo(str(place / "images"), str(place / "labels"), str(place / "data.yaml"))
    found = {Path(path).name: detections for path, _, detections in data}
    assert set(found) == {"00.png", "01.png"}
    for name, detections in found.items():
        truth = [one for one in kept(run, "od") if one.image == name]
        assert np.allclose(detections.xyxy, [one.box for one in truth], atol=1e-3)
        assert [data.classes[number] for number in detections.class_id] == [one.label for one in truth]  # type: ignore[union-attr]
    assert yaml.safe_load((place / "data.yaml").read_text())["names"] == {0: "red star", 1: "ring"}


def test_webdataset_by_its_reader(run: Directory, pictures: Pictures) -> None:
    """Each picture comes with the bytes of its file and all that was kept."""
    export(run, pictures, "webdataset")
    tars = sorted(map(str, (run.place / "webdataset").glob("*.tar")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the reader leaves its files to the garbage collector
        samples: list[dict[str, Any]] = list(wds.WebDataset(tars, shardshuffle=False, empty_check=False))
        gc.collect()
    assert len(tars) == 2
    assert [sample["__key__"] for sample in samples] == ["000000000", "000000001"]
    for sample, picture in zip(samples, pictures.pictures, strict=False):
        assert sample["png"] == picture.path.read_bytes()
        made = json.loads(sample["json"])
        assert (made["id"], made["width"], made["height"]) == (picture.id, *SIZE)
        located = [*made["regions"], *made["phrases"]]
        truth = [one for one in run.read(0) if one.kept and one.image == picture.id and one.box]
        assert [one["box"] for one in located] == [list(one.box or ()) for one in truth]
        assert [one.get("label", "") for one in located] == [one.label for one in truth]
        assert [one["text"] for one in made["texts"]] == [CAPTION.text]


def test_names_that_would_clash_in_yolo(tmp_path: Path) -> None:
    """Pictures that differ by their suffix only would share their labels; nothing is left of the try."""
    photos = tmp_path / "photos"
    write_photos(photos, 1)
    (photos / "00.jpg").write_bytes((photos / "00.png").read_bytes())
    found = find_pictures(str(photos))
    with open_directory(tmp_path / "out", description(2, Settings(shard=2))) as run:
        run.write(0, [one for picture in found.pictures for one in records(picture.id)])
        with pytest.raises(AnnotationError, match=r"00\.jpg and 00\.png would have the same labels"):
            export(run, found, "yolo")
        assert not list(run.place.glob("*yolo*"))


def test_yolo_needs_objects(pictures: Pictures, tmp_path: Path) -> None:
    """A run without task "od" has nothing for YOLO."""
    settings = Settings(tasks=("<CAPTION>",), shard=3)
    with open_directory(tmp_path / "out", description(COUNT, settings)) as run:
        run.write(0, [Record(one.id, *SIZE, "picture") for one in pictures.pictures])
        with pytest.raises(AnnotationError, match="yolo needs task od"):
            export(run, pictures, "yolo")


@pytest.mark.parametrize("name", WRITERS)
def test_an_export_is_replaced_whole(name: str, run: Directory, pictures: Pictures) -> None:
    """A second export takes the place of the first one; after a failure that one stays."""
    export(run, pictures, name)
    (run.place / name / "stale").write_text("x")
    export(run, pictures, name)
    before = sorted(run.place.rglob("*"))
    assert not (run.place / name / "stale").exists()
    run.path(0).rename(run.place / "away")
    with pytest.raises(AnnotationError, match="is damaged"):
        export(run, pictures, name)
    (run.place / "away").rename(run.path(0))
    assert sorted(run.place.rglob("*")) == before
