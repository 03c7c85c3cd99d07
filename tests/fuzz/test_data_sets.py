"""Whatever the files of a data set hold: it opens, or one line says why not."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f2edge.errors import DatasetError
from f2edge.evaluation import open_dataset
from f2edge.evaluation.samples import Dataset, summary
from f2edge.lines import one_line
from tests.support.evaluations import write_picture
from tests.support.fuzzing import check_line, contained, damaged_bytes, damaged_json, examples

if TYPE_CHECKING:
    from pathlib import Path

OBJECT = {"id": 1, "image_id": 7, "category_id": 18, "bbox": [4, 5, 10, 20], "iscrowd": 0, "segmentation": [[1] * 6]}
IMAGE = {"id": 7, "file_name": "a.png", "width": 64, "height": 48}
INSTANCES = {"images": [IMAGE], "annotations": [OBJECT, OBJECT], "categories": [{"id": 18, "name": "dog"}]}
ANNOTATIONS: dict[str, Any] = {
    "captions.json": {"images": [IMAGE], "annotations": [{"id": 1, "image_id": 7, "caption": "a dog"}]},
    "instances.json": INSTANCES,
    "refs.json": [{"ref_id": 1, "ann_id": 1, "image_id": 7, "split": "val", "sentences": [{"sent": "left dog"}]}],
    "textvqa.json": {"data": [{"question": "what?", "image_id": "a", "answers": ["nokia"] * 2}]},
}
LINES: dict[str, Any] = {
    "questions.jsonl": {
        "image": "a.png",
        "width": 64,
        "height": 48,
        "questions": [
            {"task": "od", "labels": ["a"], "boxes": [[1, 2, 3, 4]]},
            {"task": "", "text": "why?", "answers": ["so"]},
            {"task": "region_to_category", "region": [1, 2, 3, 4], "answer": "dog"},
            {"task": "ocr_with_region", "labels": ["STOP"], "quads": [[1, 2, 3, 4, 5, 6, 7, 8]]},
            {"task": "referring_expression_segmentation", "text": "dog", "polygons": [[1, 2, 3, 4, 5, 6]]},
        ],
    },
    "expressions.jsonl": {"image": "a.png", "sent": "left dog", "bbox": [1, 2, 3, 4]},
    "pairs.jsonl": {"image": "a.png", "prefix": "<OD>", "suffix": "dog<loc_1><loc_2><loc_300><loc_400>"},
    "metadata.jsonl": {"file_name": "a.png", "text": "a dog"},
}
CSV = b"file_name,text\na.png,a dog\n"
XML = b"""<annotation><size><width>64</width><height>48</height></size>
<object><name>1</name><name>2</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>
</annotation>"""
FLICKR30K = {
    "test.txt": b"a\n",
    "Sentences/a.txt": b"[/EN#1/people Two men] in [/EN#2/scene a park] .\n[/EN#2/scene A park] .\n",
    "Annotations/a.xml": XML,
}
ENCODINGS = ("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the data set."""
    return tmp_path_factory.mktemp("fuzz") / "data"


def opens_or_says_why(folder: Path, files: dict[str, bytes]) -> None:
    """Open a data set of one picture: the folder, and each of its files by itself."""
    shutil.rmtree(folder, ignore_errors=True)
    write_picture(folder / "a.png")
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    for path in (folder, *(folder / name for name in files)):
        with contained():
            try:
                opened = open_dataset(path)
            except DatasetError as error:
                check_line(error)
            else:
                assert isinstance(opened, Dataset)
                assert all(one_line(line) == line for line in summary(opened.notes))


@pytest.mark.parametrize("name", [*ANNOTATIONS, *LINES])
@examples(40)
@given(data=st.data())
def test_other_values(name: str, folder: Path, data: st.DataObject) -> None:
    """Values of any type anywhere, keys missing, unknown or there twice, in any encoding."""
    value = ANNOTATIONS.get(name) or LINES[name]
    content = data.draw(damaged_json(value))
    if name in LINES:
        sound = json.dumps(value).encode()
        content = b"\n".join(data.draw(st.permutations([content, sound])))
    encoding = data.draw(st.sampled_from(ENCODINGS))
    content = content.decode("latin-1").encode(encoding)
    beside = {"instances.json": json.dumps(INSTANCES).encode()} if name == "refs.json" else {}
    opens_or_says_why(folder, {name: content, **beside})


@examples(40)
@given(st.data())
def test_flickr30k(folder: Path, data: st.DataObject) -> None:
    """Bytes changed, lost and repeated in its lists, sentences and boxes."""
    name = data.draw(st.sampled_from(sorted(FLICKR30K)))
    opens_or_says_why(folder, {**FLICKR30K, name: data.draw(damaged_bytes(FLICKR30K[name]))})


@examples(40)
@given(damaged_bytes(CSV))
def test_a_table(folder: Path, content: bytes) -> None:
    """Bytes changed, lost and repeated in a table of captions."""
    opens_or_says_why(folder, {"metadata.csv": content})
