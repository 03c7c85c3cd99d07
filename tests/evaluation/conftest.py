"""Small data sets in each format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.evaluations import write_json, write_jsonl, write_picture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Write two pictures in COCO's layout: captions and boxes of the first, nothing about the second."""
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 3, "file_name": "b.jpg"}]
    boxes = [
        {"id": 1, "image_id": 7, "category_id": 18, "bbox": [4, 5, 10, 20], "iscrowd": 0, "area": 150},
        {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0, 0, 30, 40], "iscrowd": 1, "area": 900},
    ]
    captions = [{"id": n, "image_id": 7, "caption": text} for n, text in enumerate(["a dog", "one dog"])]
    categories = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
    notes = tmp_path / "annotations"
    write_json(notes / "captions_val2017.json", {"images": images, "annotations": captions})
    instances = {"images": images, "annotations": boxes, "categories": categories}
    write_json(notes / "instances_val2017.json", instances)
    write_json(notes / "instances_train2017.json", instances)
    write_json(notes / "image_info_test2017.json", {"images": images, "categories": categories})
    points = [{**boxes[0], "keypoints": [1, 2, 2]}]
    write_json(notes / "person_keypoints_val2017.json", {**instances, "annotations": points})
    for name in "ab":
        write_picture(tmp_path / "val2017" / f"{name}.jpg")
    return tmp_path


@pytest.fixture
def refs(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """Write RefCOCO's layout with the refs as JSON: one thing with two sentences, one whose mask is no polygon."""
    things = [
        {"id": 5, "image_id": 1, "bbox": [1, 2, 10, 20], "segmentation": [[1, 2, 11, 2, 11, 22, 1, 22]]},
        {"id": 6, "image_id": 1, "bbox": [0, 0, 4, 4], "segmentation": {"counts": [1], "size": [48, 64]}},
    ]
    instances = {"images": [{"id": 1, "file_name": "COCO_1.jpg"}], "annotations": things, "categories": []}
    write_json(tmp_path / "instances.json", instances)
    sentences = [{"sent": "left dog"}, {"sent": "the big one"}]
    entries = [
        {"ref_id": 1, "ann_id": 5, "image_id": 1, "split": "val", "sentences": sentences},
        {"ref_id": 2, "ann_id": 6, "image_id": 1, "split": "val", "sentences": sentences[:1]},
    ]
    write_json(tmp_path / "refs(unc).json", entries)
    write_picture(tmp_path / "images" / "train2014" / "COCO_1.jpg")
    return tmp_path, instances


@pytest.fixture
def flickr(tmp_path: Path) -> Path:
    """Write Flickr30k Entities: a phrase with two boxes, one without any, and a picture that is not listed."""
    sentences = "[/EN#1/people Two men] with [/EN#2/other a hat] in [/EN#3/scene a yard] .\n[/EN#3/scene Rain] .\n"
    box = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"
    objects = [
        f"<object><name>1</name>{box.format(1, 2, 30, 40)}</object>",
        f"<object><name>1</name><name>2</name>{box.format(5, 6, 7, 8)}</object>",
        "<object><name>3</name><scene>1</scene><nobndbox>0</nobndbox></object>",
    ]
    for name in ("100", "200"):
        (tmp_path / "Sentences").mkdir(exist_ok=True)
        (tmp_path / "Annotations").mkdir(exist_ok=True)
        (tmp_path / "Sentences" / f"{name}.txt").write_text(sentences)
        (tmp_path / "Annotations" / f"{name}.xml").write_text(f"<annotation>{''.join(objects)}</annotation>")
        write_picture(tmp_path / "flickr30k-images" / f"{name}.jpg")
    (tmp_path / "test.txt").write_text("200\n")
    return tmp_path


@pytest.fixture
def scenes(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes pictures and a JSONL of the same questions about each."""

    def write(*questions: dict[str, Any], pictures: int = 2) -> Path:
        names = [f"{index}.png" for index in range(pictures)]
        for name in names:
            write_picture(tmp_path / name)
        write_jsonl(tmp_path / "truth.jsonl", [{"image": name, "questions": list(questions)} for name in names])
        return tmp_path

    return write
