"""Every format of a data set is read, and what is not a data set is refused in one line."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from f2edge.errors import DatasetError
from f2edge.evaluation import Question, open_dataset
from f2edge.evaluation.samples import summary
from f2edge.tasks.table import TASKS
from tests.support.evaluations import write_json, write_jsonl, write_picture

if TYPE_CHECKING:
    from collections.abc import Callable


def test_scenes(scenes: Callable[..., Path]) -> None:
    """Tasks may lack brackets; a question with a region ignores its text; pictures keep the order of the file."""
    region = {"task": "REGION_TO_CATEGORY", "text": "<loc_1>", "region": [1, 2, 3, 4], "answer": "red star"}
    dataset = open_dataset(scenes({"task": "<CAPTION>", "text": "", "answer": "a"}, region))
    assert [Path(str(sample.image)).name for sample in dataset.samples] == ["0.png", "1.png"]
    assert dataset.samples[0].questions == (
        Question("<CAPTION>", answers=("a",)),
        Question("<REGION_TO_CATEGORY>", region=(1.0, 2.0, 3.0, 4.0), answers=("red star",)),
    )
    assert [sample.name for sample in dataset.first(1).samples] == ["0.png"]


def test_the_demos_scenes(tmp_path: Path) -> None:
    """The demo's scenes are a data set with a question of every task, also about what is not there."""
    from scenes import write_scenes

    write_scenes(tmp_path, 3, 1000, absent=1.0)
    (tmp_path / "settings.json").write_text("{}")
    dataset = open_dataset(tmp_path)
    assert dataset.kind == "JSONL of questions"
    assert all(sorted(q.task for q in sample.questions) == sorted(TASKS) for sample in dataset.samples)
    assert all(Path(str(sample.image)).is_file() for sample in dataset.samples)
    objects = next(q for q in dataset.samples[0].questions if q.task == "<OD>")
    assert len(objects.labels) == len(objects.boxes) > 0


def test_coco(coco: Path) -> None:
    """Captions and boxes of one picture are joined; training, key points and files without truth are ignored."""
    dataset = open_dataset(coco)
    assert dataset.kind == "COCO captions and COCO instances"
    assert [Path(str(sample.image)) for sample in dataset.samples] == [coco / "val2017" / f"{n}.jpg" for n in "ab"]
    caption, objects = dataset.samples[0].questions
    assert caption == Question("<CAPTION>", answers=("a dog", "one dog"))
    assert (objects.labels, objects.crowd) == (("dog", "person"), (False, True))
    assert objects.boxes == ((4.0, 5.0, 14.0, 25.0), (0.0, 0.0, 30.0, 40.0))
    assert dataset.samples[1].questions == (Question("<OD>"),)


def test_coco_file(coco: Path) -> None:
    """A file may be named, even one of the training split; the pictures are beside its folder."""
    dataset = open_dataset(coco / "annotations" / "instances_train2017.json")
    assert [[q.task for q in sample.questions] for sample in dataset.samples] == [["<OD>"], ["<OD>"]]
    assert all(Path(str(sample.image)).is_file() for sample in dataset.samples)


def test_flickr30k(flickr: Path) -> None:
    """Listed pictures are read; a phrase may have several boxes; a sentence without boxes gives no question."""
    (sample,) = open_dataset(flickr).samples
    assert sample.image == flickr / "flickr30k-images" / "200.jpg"
    (question,) = sample.questions
    assert question.text == "Two men with a hat in a yard ."
    assert question.labels == ("Two men", "Two men", "a hat")
    assert question.boxes == ((1, 2, 30, 40), (5, 6, 7, 8), (5, 6, 7, 8))


def test_flickr30k_without_a_list(flickr: Path) -> None:
    """Without a list, a picture that lacks a file is left out; a damaged file, or a missing listed one, is an error."""
    (flickr / "test.txt").unlink()
    assert [sample.name for sample in open_dataset(flickr).samples] == ["100", "200"]
    (flickr / "Annotations" / "100.xml").write_text("<annotation>")
    with pytest.raises(DatasetError, match=r"100\.xml is not what it should be"):
        open_dataset(flickr)
    (flickr / "Annotations" / "100.xml").unlink()
    dataset = open_dataset(flickr)
    assert [sample.name for sample in dataset.samples] == ["200"]
    assert summary(dataset.notes) == ["left out 1 file: Sentences/100.txt (there is no Annotations/100.xml)"]
    (flickr / "test.txt").write_text("100")
    with pytest.raises(DatasetError, match=r"100\.xml is not there"):
        open_dataset(flickr)


def test_refcoco(refs: tuple[Path, dict[str, Any]]) -> None:
    """Each sentence asks for the box, and for the mask if the mask consists of polygons."""
    root, _ = refs
    dataset = open_dataset(root)
    (sample,) = dataset.samples
    assert sample.image == root / "images" / "train2014" / "COCO_1.jpg"
    boxes = [q for q in sample.questions if q.task == "<OPEN_VOCABULARY_DETECTION>"]
    masks = [q for q in sample.questions if q.task == "<REFERRING_EXPRESSION_SEGMENTATION>"]
    assert [q.text for q in boxes] == ["left dog", "the big one", "left dog"]
    assert [q.boxes[0] for q in boxes] == [(1, 2, 11, 22), (1, 2, 11, 22), (0, 0, 4, 4)]
    assert [q.text for q in masks] == ["left dog", "the big one"]
    assert masks[0].polygons == ((1, 2, 11, 2, 11, 22, 1, 22),)


def test_refcoco_needs_its_instances(refs: tuple[Path, dict[str, Any]]) -> None:
    """Missing instances, or instances that lack a thing of the refs, are reported in one line."""
    root, instances = refs
    write_json(root / "instances.json", instances | {"annotations": instances["annotations"][:1]})
    with pytest.raises(DatasetError, match=r"refs\(unc\)\.json, ref 2 .*no annotation of the instances has the id 6"):
        open_dataset(root)
    (root / "instances.json").unlink()
    with pytest.raises(DatasetError, match=r"needs RefCOCO's instances\.json"):
        open_dataset(root)


@pytest.mark.parametrize(("image", "text"), [("image", "sent"), ("img_path", "expression")])
def test_refcoco_as_jsonl(tmp_path: Path, image: str, text: str) -> None:
    """Both spellings of the JSONL are read, with the expressions gathered by picture."""
    lines = [{image: name, text: f"dog {name}", "bbox": [1, 2, 3, 4]} for name in ("a.jpg", "b.jpg", "a.jpg")]
    dataset = open_dataset(write_jsonl(tmp_path / "refcoco_val.jsonl", lines))
    assert [(sample.name, len(sample.questions)) for sample in dataset.samples] == [("a.jpg", 2), ("b.jpg", 1)]
    assert dataset.samples[1].questions == (
        Question("<OPEN_VOCABULARY_DETECTION>", text="dog b.jpg", boxes=((1, 2, 3, 4),)),
    )


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    """A pickle is never opened; the error says how to convert it."""
    path = tmp_path / "refs(unc).p"
    path.write_bytes(pickle.dumps([1]))
    for place in (tmp_path, path):
        with pytest.raises(DatasetError, match=r"is a pickle; pickles are not opened.*json\.dumps"):
            open_dataset(place)


def test_textvqa(tmp_path: Path) -> None:
    """Questions are gathered by picture; the test split has no answers and is no data set."""
    entry = {"question": "what brand?", "image_id": "abc", "answers": ["nokia"] * 10}
    write_json(tmp_path / "TextVQA_0.5.1_val.json", {"data": [entry, {**entry, "question": "who?"}]})
    write_json(tmp_path / "TextVQA_0.5.1_test.json", {"data": [{"question": "?", "image_id": "x"}]})
    write_picture(tmp_path / "train_images" / "abc.jpg")
    (sample,) = open_dataset(tmp_path).samples
    assert sample.image == tmp_path / "train_images" / "abc.jpg"
    assert [(q.task, q.text, len(q.answers)) for q in sample.questions] == [("", "what brand?", 10), ("", "who?", 10)]


def test_no_data_set(tmp_path: Path) -> None:
    """A folder of pictures and a missing folder are refused, and the error says what was looked for."""
    write_picture(tmp_path / "a.jpg")
    with pytest.raises(DatasetError, match=r"holds no known data set; looked for: \*\.jsonl with image and"):
        open_dataset(tmp_path)
    with pytest.raises(DatasetError, match="is not there"):
        open_dataset(tmp_path / "none")


def test_several_data_sets(coco: Path) -> None:
    """If a folder holds several data sets, the error lists them; none is chosen without notice."""
    (coco / "annotations" / "captions_val2014.json").write_text(
        (coco / "annotations" / "captions_val2017.json").read_text()
    )
    with pytest.raises(DatasetError, match=r"holds several data sets .*captions_val2014\.json.*give one of these"):
        open_dataset(coco)


def test_coco_without_annotations(tmp_path: Path) -> None:
    """A COCO file without annotations, and a file without pictures, are refused."""
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
        ({"task": "caption", "answers": [1]}, "answers is 1, not a text"),
        ({"task": "od", "labels": ["a"], "boxes": []}, "<OD> has 1 labels for 0 boxes"),
        ({"task": "od", "labels": ["a"], "boxes": [[1, 2, 3]]}, "has 3 numbers, not 4"),
        ({"task": "od", "labels": ["a"], "boxes": [[10, 2, 3, 4]]}, "x1 <= x2 and y1 <= y2"),
        ({"task": "od", "labels": ["a"], "boxes": [[1, 2, 3, "x"]]}, '"x" is not a number'),
        ({"task": "caption_to_phrase_grounding", "text": "a"}, "needs labels and boxes"),
        ({"task": "referring_expression_segmentation", "text": "a"}, "needs polygons"),
        ({"task": "open_vocabulary_detection", "text": "a", "polygons": []}, "needs boxes"),
        ({"task": "region_proposal", "boxes": []}, "needs boxes"),
        ({"task": "ocr_with_region", "labels": ["a"]}, "has 1 labels for 0 quads"),
        ({"task": "", "text": "why?"}, "a free question needs answers"),
    ],
)
def test_bad_questions(scenes: Callable[..., Path], question: dict[str, Any], words: str) -> None:
    """The error names the fault and the line."""
    with pytest.raises(DatasetError, match=words) as caught:
        open_dataset(scenes(question))
    assert re.search(r"truth\.jsonl, line 1\b", str(caught.value))


def test_what_is_not_there(scenes: Callable[..., Path]) -> None:
    """An empty list, where a true answer is needed, says that the thing is not in the picture."""
    detection = {"task": "open_vocabulary_detection", "text": "a", "boxes": []}
    mask = {"task": "referring_expression_segmentation", "text": "a", "polygons": []}
    samples = open_dataset(scenes(detection, mask, pictures=1)).samples
    assert [(q.boxes, q.polygons) for sample in samples for q in sample.questions] == [((), ())] * 2


def test_bad_files(tmp_path: Path) -> None:
    """A file that is not JSON, not text or truncated is refused, with the line if it is a JSONL."""
    path = tmp_path / "x.json"
    for data in (b"{", b"\xff\xfe\x00", b"[" * 100_000):
        path.write_bytes(data)
        with pytest.raises(DatasetError, match=r"x\.json is not what it should be"):
            open_dataset(path)
    lines = write_jsonl(tmp_path / "y.jsonl", [{"image": "a.png", "questions": []}])
    lines.write_text(lines.read_text() + "\n{")
    with pytest.raises(DatasetError, match=r"y\.jsonl, line 3 is not what it should be"):
        open_dataset(lines)
