"""Every format on a small data set of its own, and what is not one."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from f2edge.errors import DatasetError
from f2edge.evaluation import Question, open_dataset
from tests.support.evaluations import write_json, write_jsonl, write_picture

if TYPE_CHECKING:
    from collections.abc import Callable


def test_scenes(scenes: Callable[..., Path]) -> None:
    """Tasks with or without brackets; the region's text is left to the region; order is that of the file."""
    region = {"task": "REGION_TO_CATEGORY", "text": "<loc_1>", "region": [1, 2, 3, 4], "answer": "red star"}
    found = open_dataset(scenes({"task": "<CAPTION>", "text": "", "answer": "a"}, region))
    assert [Path(str(sample.image)).name for sample in found.samples] == ["0.png", "1.png"]
    assert found.samples[0].questions == (
        Question("<CAPTION>", answers=("a",)),
        Question("<REGION_TO_CATEGORY>", region=(1.0, 2.0, 3.0, 4.0), answers=("red star",)),
    )
    assert [sample.name for sample in found.first(1).samples] == ["0.png"]


def test_what_the_demo_writes(tmp_path: Path) -> None:
    """Seven questions about each scene, the truth of each where its metric looks."""
    from scenes import write_scenes

    write_scenes(tmp_path, 3, 1000)
    (tmp_path / "settings.json").write_text("{}")
    found = open_dataset(tmp_path)
    assert found.kind == "JSONL of questions"
    assert [len(sample.questions) for sample in found.samples] == [7, 7, 7]
    assert all(Path(str(sample.image)).is_file() for sample in found.samples)
    objects = next(q for q in found.samples[0].questions if q.task == "<OD>")
    assert len(objects.labels) == len(objects.boxes) > 0


def test_coco(coco: Path) -> None:
    """Captions and boxes of one picture together; training, key points and files without truth are passed over."""
    found = open_dataset(coco)
    assert found.kind == "COCO captions and COCO instances"
    assert [Path(str(sample.image)) for sample in found.samples] == [coco / "val2017" / f"{n}.jpg" for n in "ab"]
    caption, objects = found.samples[0].questions
    assert caption == Question("<CAPTION>", answers=("a dog", "one dog"))
    assert (objects.labels, objects.crowd) == (("dog", "person"), (False, True))
    assert objects.boxes == ((4.0, 5.0, 14.0, 25.0), (0.0, 0.0, 30.0, 40.0))
    assert found.samples[1].questions == (Question("<OD>"),)


def test_coco_file(coco: Path) -> None:
    """A file by its name, even one of training; the pictures are beside its folder."""
    found = open_dataset(coco / "annotations" / "instances_train2017.json")
    assert [[q.task for q in sample.questions] for sample in found.samples] == [["<OD>"], ["<OD>"]]
    assert all(Path(str(sample.image)).is_file() for sample in found.samples)


def test_flickr30k(flickr: Path) -> None:
    """The listed picture; phrases with any of their boxes; a sentence without a box is not asked."""
    (sample,) = open_dataset(flickr).samples
    assert sample.image == flickr / "flickr30k-images" / "200.jpg"
    (question,) = sample.questions
    assert question.text == "Two men with a hat in a yard ."
    assert question.labels == ("Two men", "Two men", "a hat")
    assert question.boxes == ((1, 2, 30, 40), (5, 6, 7, 8), (5, 6, 7, 8))


def test_flickr30k_without_a_list(flickr: Path) -> None:
    """All pictures; what is damaged or missing is named."""
    (flickr / "test.txt").unlink()
    assert [sample.name for sample in open_dataset(flickr).samples] == ["100", "200"]
    (flickr / "Annotations" / "100.xml").write_text("<annotation>")
    with pytest.raises(DatasetError, match=r"100\.xml is not what it should be"):
        open_dataset(flickr)
    (flickr / "Annotations" / "100.xml").unlink()
    with pytest.raises(DatasetError, match=r"100\.xml is not there"):
        open_dataset(flickr)


def test_refcoco(refs: tuple[Path, dict[str, Any]]) -> None:
    """Each sentence for the box and for the mask, if it is made of polygons; the file's name is the instances'."""
    root, _ = refs
    found = open_dataset(root)
    (sample,) = found.samples
    assert sample.image == root / "images" / "train2014" / "COCO_1.jpg"
    boxes = [q for q in sample.questions if q.task == "<OPEN_VOCABULARY_DETECTION>"]
    masks = [q for q in sample.questions if q.task == "<REFERRING_EXPRESSION_SEGMENTATION>"]
    assert [q.text for q in boxes] == ["left dog", "the big one", "left dog"]
    assert [q.boxes[0] for q in boxes] == [(1, 2, 11, 22), (1, 2, 11, 22), (0, 0, 4, 4)]
    assert [q.text for q in masks] == ["left dog", "the big one"]
    assert masks[0].polygons == ((1, 2, 11, 2, 11, 22, 1, 22),)


def test_refcoco_needs_its_instances(refs: tuple[Path, dict[str, Any]]) -> None:
    """Without them, or with a thing that they lack, one line."""
    root, instances = refs
    write_json(root / "instances.json", instances | {"annotations": instances["annotations"][:1]})
    with pytest.raises(DatasetError, match=r"refs\(unc\)\.json is not what it should be: an entry has no 6"):
        open_dataset(root)
    (root / "instances.json").unlink()
    with pytest.raises(DatasetError, match=r"needs RefCOCO's instances\.json"):
        open_dataset(root)


@pytest.mark.parametrize(("image", "text"), [("image", "sent"), ("img_path", "expression")])
def test_refcoco_as_jsonl(tmp_path: Path, image: str, text: str) -> None:
    """The two spellings of one expression a line, gathered by picture."""
    lines = [{image: name, text: f"dog {name}", "bbox": [1, 2, 3, 4]} for name in ("a.jpg", "b.jpg", "a.jpg")]
    found = open_dataset(write_jsonl(tmp_path / "refcoco_val.jsonl", lines))
    assert [(sample.name, len(sample.questions)) for sample in found.samples] == [("a.jpg", 2), ("b.jpg", 1)]
    assert found.samples[1].questions == (
        Question("<OPEN_VOCABULARY_DETECTION>", text="dog b.jpg", boxes=((1, 2, 3, 4),)),
    )


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    """Neither in a folder nor by name; the line says how to convert one."""
    path = tmp_path / "refs(unc).p"
    path.write_bytes(pickle.dumps([1]))
    for place in (tmp_path, path):
        with pytest.raises(DatasetError, match=r"is a pickle; pickles are not opened.*json\.dumps"):
            open_dataset(place)


def test_textvqa(tmp_path: Path) -> None:
    """Questions by picture, pictures in train_images; the test split has no answers and is no data set."""
    entry = {"question": "what brand?", "image_id": "abc", "answers": ["nokia"] * 10}
    write_json(tmp_path / "TextVQA_0.5.1_val.json", {"data": [entry, {**entry, "question": "who?"}]})
    write_json(tmp_path / "TextVQA_0.5.1_test.json", {"data": [{"question": "?", "image_id": "x"}]})
    write_picture(tmp_path / "train_images" / "abc.jpg")
    (sample,) = open_dataset(tmp_path).samples
    assert sample.image == tmp_path / "train_images" / "abc.jpg"
    assert [(q.task, q.text, len(q.answers)) for q in sample.questions] == [("", "what brand?", 10), ("", "who?", 10)]


def test_no_data_set(tmp_path: Path) -> None:
    """A folder of pictures, an empty one, none at all: the line says what was looked for."""
    write_picture(tmp_path / "a.jpg")
    with pytest.raises(DatasetError, match=r"holds no known data set; looked for: \*\.jsonl with image and"):
        open_dataset(tmp_path)
    with pytest.raises(DatasetError, match="is not there"):
        open_dataset(tmp_path / "none")


def test_several_data_sets(coco: Path) -> None:
    """Nothing is chosen in silence."""
    (coco / "annotations" / "captions_val2014.json").write_text(
        (coco / "annotations" / "captions_val2017.json").read_text()
    )
    with pytest.raises(DatasetError, match=r"holds several data sets .*captions_val2014\.json.*give one of these"):
        open_dataset(coco)


def test_coco_without_annotations(tmp_path: Path) -> None:
    """A COCO file that has nothing to measure says so; so does a data set without pictures."""
    path = write_json(tmp_path / "x.json", {"images": [{"id": 1, "file_name": "a"}], "annotations": []})
    with pytest.raises(DatasetError, match="is a COCO file without annotations"):
        open_dataset(path)
    with pytest.raises(DatasetError, match="holds no known data set"):
        open_dataset(write_json(tmp_path / "y.json", {"images": [], "annotations": [{"id": 1}]}))


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({}, "an entry has no 'task'"),
        ({"task": "odd"}, "line 1: unknown task 'odd': did you mean od"),
        ({"task": 3}, "line 1: a task is a name such as od, not 3"),
        ({"task": "caption"}, "<CAPTION> needs answers"),
        ({"task": "caption", "answers": [1]}, "an answer is not a text"),
        ({"task": "od", "labels": ["a"], "boxes": []}, "<OD> has 1 labels for 0 boxes"),
        ({"task": "od", "labels": ["a"], "boxes": [[1, 2, 3]]}, "has 3 numbers, not 4"),
        ({"task": "od", "labels": ["a"], "boxes": [[1, 2, 3, "x"]]}, "could not convert"),
        ({"task": "caption_to_phrase_grounding", "text": "a"}, "needs labels and boxes"),
        ({"task": "referring_expression_segmentation", "text": "a"}, "needs polygons"),
        ({"task": "ocr_with_region", "labels": ["a"]}, "has 1 labels for 0 quads"),
        ({"task": "", "text": "why?"}, "a free question needs answers"),
    ],
)
def test_bad_questions(scenes: Callable[..., Path], question: dict[str, Any], words: str) -> None:
    """What is wrong, in which line."""
    with pytest.raises(DatasetError, match=words) as caught:
        open_dataset(scenes(question))
    assert re.search(r"truth\.jsonl, line 1\b", str(caught.value))


def test_bad_files(tmp_path: Path) -> None:
    """Not JSON, not text, a line that is cut off."""
    path = tmp_path / "x.json"
    for data in (b"{", b"\xff\xfe\x00", b"[" * 100_000):
        path.write_bytes(data)
        with pytest.raises(DatasetError, match=r"x\.json is not what it should be"):
            open_dataset(path)
    lines = write_jsonl(tmp_path / "y.jsonl", [{"image": "a.png", "questions": []}])
    lines.write_text(lines.read_text() + "\n{")
    with pytest.raises(DatasetError, match=r"y\.jsonl, line 3 is not what it should be"):
        open_dataset(lines)
