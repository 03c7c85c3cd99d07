"""Data sets as users have them: single texts, other encodings, unrelated files, values of another type."""

from __future__ import annotations

import codecs
import copy
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from f2edge.errors import DatasetError
from f2edge.evaluation import Question, open_dataset
from f2edge.evaluation.samples import summary
from tests.support.evaluations import write_json, write_jsonl, write_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CAPTION = {"image": "a.png", "questions": [{"task": "caption", "answers": ["un caf\u00e9", "\u5496\u5561"]}]}
OBJECT = {"id": 1, "image_id": 7, "category_id": 18, "bbox": [4, 5, 10, 20], "iscrowd": 0, "segmentation": [[1] * 6]}
IMAGE = {"id": 7, "file_name": "a.png"}
INSTANCES = {"images": [IMAGE], "annotations": [OBJECT], "categories": [{"id": 18, "name": "dog"}]}
CAPTIONS = {"images": [IMAGE], "annotations": [{"id": 1, "image_id": 7, "caption": "a dog"}]}
REF = {"ref_id": 1, "ann_id": 1, "image_id": 7, "split": "val", "sentences": [{"sent": "left dog"}]}
TEXTVQA = {"data": [{"question": "what?", "image_id": "a", "answers": ["nokia"] * 2}]}
QUESTIONS = {
    "image": "a.png",
    "questions": [
        {"task": "od", "labels": ["a"], "boxes": [[1, 2, 3, 4]]},
        {"task": "", "text": "why?", "answers": ["so"]},
        {"task": "region_to_category", "region": [1, 2, 3, 4], "answer": "dog"},
        {"task": "ocr_with_region", "labels": ["STOP"], "quads": [[1, 2, 3, 4, 5, 6, 7, 8]]},
        {"task": "referring_expression_segmentation", "text": "dog", "polygons": [[1, 2, 3, 4, 5, 6]]},
    ],
}
EXPRESSION = {"image": "a.png", "sent": "left dog", "bbox": [1, 2, 3, 4]}
FORMATS = {
    "captions.json": CAPTIONS,
    "instances.json": INSTANCES,
    "refs.json": [REF],
    "textvqa.json": TEXTVQA,
    "questions.jsonl": QUESTIONS,
    "expressions.jsonl": EXPRESSION,
    "pairs.jsonl": {"image": "a.png", "prefix": "<OD>", "suffix": "cat<loc_1><loc_2><loc_3><loc_4>"},
    "metadata.jsonl": {"file_name": "a.png", "text": "a cat"},
}


def write(folder: Path, name: str, value: Any) -> Path:
    """Write a data set of one picture with the given annotations."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write_picture(folder / "a.png")
    if name == "refs.json":
        write_json(folder / "instances.json", INSTANCES)
    return write_jsonl(folder / name, [value]) if name.endswith("l") else write_json(folder / name, value)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ({"task": "caption", "answers": "a cat"}, Question("<CAPTION>", answers=("a cat",))),
        ({"task": "caption", "answer": ["a cat", "one cat"]}, Question("<CAPTION>", answers=("a cat", "one cat"))),
        ({"task": "caption", "answers": None, "answer": "a"}, Question("<CAPTION>", answers=("a",))),
        (
            {"task": "od", "labels": "cat", "boxes": [[1, 2, 3, 4]]},
            Question("<OD>", labels=("cat",), boxes=((1, 2, 3, 4),)),
        ),
        ({"task": "", "text": "what?", "answers": "ok"}, Question("", text="what?", answers=("ok",))),
    ],
)
def test_a_single_text_is_one_reference(
    scenes: Callable[..., Path], question: dict[str, Any], expected: Question
) -> None:
    """A string in place of a list is one reference, and is not split into letters."""
    assert open_dataset(scenes(question, pictures=1)).samples[0].questions == (expected,)


def test_a_single_text_in_the_other_formats(tmp_path: Path) -> None:
    """A single answer, sentence or question is read like a list of one; several expressions may share a line."""
    textvqa = write(tmp_path / "a", "textvqa.json", {"data": [{**TEXTVQA["data"][0], "answers": "nokia"}]})
    assert open_dataset(textvqa).samples[0].questions[0].answers == ("nokia",)
    refs = write(tmp_path / "b", "refs.json", [{**REF, "sentences": "left dog"}]).parent
    assert {question.text for question in open_dataset(refs).samples[0].questions} == {"left dog"}
    lines = write(tmp_path / "c", "lines.jsonl", {**EXPRESSION, "sent": ["left dog", "the dog"]})
    assert [question.text for question in open_dataset(lines).samples[0].questions] == ["left dog", "the dog"]
    one = write(tmp_path / "d", "lines.jsonl", {**CAPTION, "questions": CAPTION["questions"][0]})
    assert len(open_dataset(one).samples[0].questions) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings_of_unicode(encoding: str, tmp_path: Path) -> None:
    """JSON and JSONL are read in every Unicode encoding, with or without a byte order mark."""
    line, coco = json.dumps(CAPTION, ensure_ascii=False), copy.deepcopy(CAPTIONS)
    coco["annotations"][0]["caption"] = "un caf\u00e9"
    for path, content in ((tmp_path / "x.jsonl", f"{line}\r\n\r\n{line}"), (tmp_path / "y.json", json.dumps(coco))):
        path.write_bytes(content.encode(encoding))
        assert open_dataset(path).samples[0].questions[0].answers[0] == "un caf\u00e9"


def test_flickr30k_in_other_encodings(flickr: Path) -> None:
    """A list with a byte order mark and UTF-16 sentences are read; Latin-1 is refused with the line and the remedy."""
    (flickr / "test.txt").write_bytes(codecs.BOM_UTF8 + b"200.jpg\r\n")
    sentences = flickr / "Sentences" / "200.txt"
    sentences.write_text(sentences.read_text().replace("Two men", "Two caf\u00e9s"), encoding="utf-16")
    assert open_dataset(flickr).samples[0].questions[0].labels[0] == "Two caf\u00e9s"
    sentences.write_bytes(b"a\ncaf\xe9\n")
    with pytest.raises(DatasetError, match=r"200\.txt .*line 2 is not UTF-8.*iconv -f LATIN1 -t UTF-8"):
        open_dataset(flickr)


@pytest.mark.parametrize("name", ["x" * 300, "\x1b[2J"], ids=ascii)
def test_names_that_no_file_has(name: str, flickr: Path) -> None:
    """A list of pictures may hold anything; the line says which file is not there, and has no control characters."""
    (flickr / "test.txt").write_text(name)
    with pytest.raises(DatasetError, match="is not there; copy all") as caught:
        open_dataset(flickr)
    assert str(caught.value).isprintable()
    with pytest.raises(DatasetError, match="is not there; give the folder"):
        open_dataset(name)


def test_latin_1_is_refused(tmp_path: Path) -> None:
    """Any bytes are valid Latin-1, so reading them as such would be a guess; the error names the line."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"image": "a.png", "questions": []}\n{"image": "caf\xe9.png", "questions": []}\n')
    with pytest.raises(DatasetError, match=r"x\.jsonl, line 2 .*not UTF-8.*iconv"):
        open_dataset(path)
    (tmp_path / "y.json").write_bytes(b'{\n"images": "caf\xe9"}')
    with pytest.raises(DatasetError, match=r"y\.json .*line 2 is not UTF-8"):
        open_dataset(tmp_path / "y.json")


UNRELATED = {
    "empty.json": b"",
    "numbers.json": b"[1, 2, 3]",
    "broken.json": b"{",
    "latin.json": b'"caf\xe9"',
    "._truth.jsonl": b"\x00\x05\x16\x07\x00\x02",
    "._captions.json": b"\x00\x05\x16\x07\x00\x02",
    "settings.json": b"{}",
    "empty.jsonl": b"",
    "log.jsonl": b'{"step": 1}\n',
    "train.jsonl": b'{"image": "a.png", "questions": []}\n',
    "coco.json": b'{"images": [], "annotations": []}',
    "vqa.json": b'{"data": [1]}',
    "old.json.bak": b"{",
}


def test_unrelated_files_are_left_out(scenes: Callable[..., Path]) -> None:
    """Every unrelated file is named with the reason; a folder with a name like a file is ignored."""
    folder = scenes({"task": "caption", "answers": ["a"]})
    for name, content in UNRELATED.items():
        (folder / name).write_bytes(content)
    (folder / "more.json").mkdir()
    dataset = open_dataset(folder)
    assert len(dataset.samples) == 2
    assert {note.name for note in dataset.notes} == set(UNRELATED)
    (line,) = summary(dataset.notes)
    assert line.startswith("left out 13 files: ._captions.json (hidden), ")
    assert line.endswith(" and 8 more")
    reasons = {note.name: note.reason for note in dataset.notes}
    assert reasons["train.jsonl"] == "for training"
    assert "it is empty" in reasons["empty.json"]


def test_only_unrelated_files(tmp_path: Path) -> None:
    """Without a data set, the error names the unrelated files of the folder."""
    (tmp_path / "empty.json").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"holds no known data set; left out 1 file: empty\.json \(.*it is empty"):
        open_dataset(tmp_path)


def test_hidden_files_beside_flickr30k(flickr: Path) -> None:
    """The hidden files that macOS adds are not read as sentences."""
    (flickr / "test.txt").unlink()
    for folder, suffix in (("Sentences", "txt"), ("Annotations", "xml")):
        (flickr / folder / f"._100.{suffix}").write_bytes(b"\x00\x05\x16\x07")
    dataset = open_dataset(flickr)
    assert [sample.name for sample in dataset.samples] == ["100", "200"]
    assert summary(dataset.notes) == ["left out 1 file: Sentences/._100.txt (hidden)"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("instances.json", INSTANCES | {"categories": [{"id": 18, "name": 7}]}, "category 1 .*name is 7, not a text"),
        ("captions.json", CAPTIONS | {"images": [IMAGE | {"file_name": 12}]}, "image 1 .*file_name is 12, not a text"),
        (
            "captions.json",
            CAPTIONS | {"annotations": [*CAPTIONS["annotations"], {"image_id": 7, "caption": None}]},
            "annotation 2 .*caption is null, not a text",
        ),
        ("textvqa.json", {"data": [{"question": "?", "image_id": "a", "answers": [3]}]}, "answers is 3, not a text"),
        ("questions.jsonl", CAPTION | {"image": 3}, "line 1 .*image is 3, not a text"),
        ("instances.json", INSTANCES | {"annotations": [OBJECT | {"bbox": "1234"}]}, '"1234" is not a list of numbers'),
        ("instances.json", INSTANCES | {"annotations": [OBJECT | {"category_id": 5}]}, "no category has the id 5"),
        ("instances.json", INSTANCES | {"annotations": [OBJECT | {"iscrowd": "0"}]}, 'iscrowd is "0", not 0 or 1'),
    ],
)
def test_a_value_of_another_type(name: str, value: Any, words: str, tmp_path: Path) -> None:
    """The error names the file, the entry, the key and the value."""
    with pytest.raises(DatasetError, match=rf"{name}, \w+ \d.*{words}|{name}, {words}"):
        open_dataset(write(tmp_path / "x", name, value).parent)


def places(value: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the path to each value inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (key,)
        yield from ((key, *path) for path in places(inner))


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    """Return a copy with the value at a path replaced."""
    copied = copy.deepcopy(value)
    inner = copied
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = by
    return copied


OTHERS = (
    None,
    7,
    1.5,
    True,
    "",
    "x",
    [],
    {},
    [3],
    [None],
    {"a": 1},
    10**400,
    float("nan"),
    float("inf"),
    "\ud800",
    "x" * 300,
)


@pytest.mark.parametrize("name", FORMATS)
def test_any_value_replaced_by_any_other(name: str, tmp_path: Path) -> None:
    """If any value is replaced, the data set is refused in one line or has values of the right types."""
    for path in places(FORMATS[name]):
        for other in OTHERS:
            file = write(tmp_path / "x", name, replaced(FORMATS[name], path, other))
            assert all(map(sound, questions_of(file.parent))), (path, other)


@pytest.mark.parametrize("name", FORMATS)
def test_any_key_missing(name: str, tmp_path: Path) -> None:
    """If any key is missing, the data set is refused in one line or, for an optional key, is still valid."""
    for path in places(FORMATS[name]):
        if isinstance(path[-1], str):
            value = copy.deepcopy(FORMATS[name])
            inner = value
            for key in path[:-1]:
                inner = inner[key]
            del inner[path[-1]]
            assert all(map(sound, questions_of(write(tmp_path / "x", name, value).parent))), path


def questions_of(folder: Path) -> list[Question]:
    """Return the questions of a data set; none if it is refused, which must take one line."""
    try:
        return [question for sample in open_dataset(folder).samples for question in sample.questions]
    except DatasetError as error:
        if len(str(error).splitlines()) > 1:
            raise
        return []


def sound(question: Question) -> bool:
    """Return whether texts are strings and numbers are finite."""
    texts = (question.task, question.text or "", *question.answers, *question.labels)
    shapes = (question.region or (), *question.boxes, *question.polygons, *question.quads)
    numbers = [number for shape in shapes for number in shape]
    return all(isinstance(one, str) for one in texts) and all(abs(number) < float("inf") for number in numbers)


def test_ids_of_two_types(tmp_path: Path) -> None:
    """An id may be a number in one list and digits in the other; whole floats, as tables export them, also match."""
    for other in ("7", "007", 7.0):
        annotations = [OBJECT | {"image_id": other, "category_id": "18"}]
        (sample,) = open_dataset(
            write(tmp_path / "x", "instances.json", INSTANCES | {"annotations": annotations})
        ).samples
        assert sample.questions[0].labels == ("dog",)
        refs = write(tmp_path / "y", "refs.json", [REF | {"image_id": other, "ann_id": "1"}]).parent
        assert len(open_dataset(refs).samples[0].questions) == 2


def test_annotations_of_other_pictures(tmp_path: Path) -> None:
    """Annotations of unlisted pictures are counted; if there are no others, the error says which ids to compare."""
    other = OBJECT | {"image_id": "COCO_8"}
    path = write(tmp_path / "x", "instances.json", INSTANCES | {"annotations": [OBJECT, other, other]})
    expected = "left out 2 annotations: instances.json (of pictures that it does not list)"
    assert summary(open_dataset(path).notes) == [expected]
    path = write(tmp_path / "x", "instances.json", INSTANCES | {"annotations": [other]})
    with pytest.raises(DatasetError, match="no annotation is of a picture of the file; compare image_id with the ids"):
        open_dataset(path)


def test_nothing_but_what_is_left_out(tmp_path: Path) -> None:
    """If everything is left out, the error says what and why."""
    refs = [REF | {"ann_id": [-1], "no_target": True}, REF | {"split": "train"}]
    path = write(tmp_path / "x", "refs.json", refs)
    expected = (
        r"no picture with a question; left out 1 expression: refs\.json \(nothing in the picture fits\); left out"
    )
    with pytest.raises(DatasetError, match=expected):
        open_dataset(path.parent)


def test_grefcoco(tmp_path: Path) -> None:
    """One object is asked for box and mask, several for their mask, none not at all; what is left out is counted."""
    second = OBJECT | {"id": 2, "segmentation": [[2] * 6]}
    refs = [REF | {"ann_id": ids, "no_target": ids == [-1]} for ids in ([1], [1, 2], [-1])]
    folder = write(tmp_path / "x", "refs.json", [*refs, REF | {"split": "train"}]).parent
    write_json(folder / "instances.json", INSTANCES | {"annotations": [OBJECT, second]})
    dataset = open_dataset(folder)
    box, mask, both = dataset.samples[0].questions
    assert (box.boxes, mask.polygons, both.polygons) == (((4, 5, 14, 25),), ((1,) * 6,), ((1,) * 6, (2,) * 6))
    assert summary(dataset.notes) == [
        "left out 1 box question: refs.json (of several objects, which are asked for their mask only)",
        "left out 1 expression: refs.json (nothing in the picture fits)",
        "left out 1 ref: refs.json (of the split train)",
    ]
