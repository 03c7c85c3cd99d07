"""The data formats that are common for fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from f2edge.errors import DatasetError
from f2edge.evaluation import Question, open_dataset
from f2edge.evaluation.samples import summary
from tests.support.evaluations import write_jsonl, write_picture

if TYPE_CHECKING:
    from pathlib import Path

LEFT = "<loc_0><loc_0><loc_499><loc_999>"
HALF = tuple(pytest.approx(value, abs=0.1) for value in (0, 0, 32, 48))


def pairs(folder: Path, *pairs: tuple[str, str]) -> Path:
    """Write a JSONL of prefixes and suffixes about a picture of 64x48 pixels."""
    write_picture(folder / "a.png")
    return write_jsonl(folder / "annotations.jsonl", [{"image": "a.png", "prefix": p, "suffix": s} for p, s in pairs])


@pytest.mark.parametrize(
    ("prefix", "suffix", "expected"),
    [
        ("<CAPTION>", "a cat", Question("<CAPTION>", answers=("a cat",))),
        ("<DocVQA>What year?", "1999", Question("", text="<DocVQA>What year?", answers=("1999",))),
        ("<OD>", f"cat{LEFT}dog{LEFT}", Question("<OD>", labels=("cat", "dog"), boxes=(HALF, HALF))),
        (
            "Locate the objects with category name in the image.",
            f"cat{LEFT}",
            Question("<OD>", labels=("cat",), boxes=(HALF,)),
        ),
        ("<OD>", "", Question("<OD>")),
        (
            "<CAPTION_TO_PHRASE_GROUNDING> a cat sits",
            f"a cat{LEFT}",
            Question("<CAPTION_TO_PHRASE_GROUNDING>", text="a cat sits", labels=("a cat",), boxes=(HALF,)),
        ),
        (f"<REGION_TO_CATEGORY>{LEFT}", "cat", Question("<REGION_TO_CATEGORY>", text=LEFT, answers=("cat",))),
    ],
)
def test_prefix_and_suffix(prefix: str, suffix: str, expected: Question, tmp_path: Path) -> None:
    """The prefix names the task, and the suffix is the answer in the model's words, whose bins become pixels."""
    dataset = open_dataset(pairs(tmp_path, (prefix, suffix)).parent)
    assert dataset.kind == "JSONL of prefix and suffix"
    assert dataset.samples[0].questions == (expected,)


def test_quads_and_masks(tmp_path: Path) -> None:
    """Lines of text become quads, and all polygons of a suffix one mask."""
    ocr = ("<OCR_WITH_REGION>", f"STOP{LEFT}{LEFT}")
    mask = ("<REFERRING_EXPRESSION_SEGMENTATION>the cat", f"{LEFT}<loc_0><loc_999>")
    read, masked = open_dataset(pairs(tmp_path, ocr, mask)).samples[0].questions
    assert (read.labels, [len(quad) for quad in read.quads]) == (("STOP",), [8])
    assert (masked.text, [len(polygon) for polygon in masked.polygons]) == ("the cat", [6])


@pytest.mark.parametrize(
    ("prefix", "suffix", "words"),
    [
        ("detect cat", "<loc0012><loc0034><loc0100><loc0200> cat", "locations of another model"),
        ("<OD>", "a cat", "has no location, but <OD> is answered by them"),
        ("<CAPTION>", f"cat{LEFT}", "has locations, but <CAPTION> is answered in words"),
        ("find cats", f"cat{LEFT}", "has locations, but a prefix without a task"),
        ("<CAPTION_TO_PHRASE_GROUNDING>x", "", "needs labels and boxes"),
    ],
)
def test_a_suffix_that_does_not_fit_its_task(prefix: str, suffix: str, words: str, tmp_path: Path) -> None:
    """A suffix that does not fit its prefix is refused, because it would be scored as another answer."""
    with pytest.raises(DatasetError, match=rf"annotations\.jsonl, line 1 .*{words}"):
        open_dataset(pairs(tmp_path, (prefix, suffix)))


def test_a_missing_picture_has_no_pixels(tmp_path: Path) -> None:
    """A missing picture is left out and named, because bins need its size to become pixels."""
    lines = [{"image": f"{name}.png", "prefix": "<OD>", "suffix": f"cat{LEFT}"} for name in "ab"]
    write_picture(tmp_path / "a.png")
    dataset = open_dataset(write_jsonl(tmp_path / "x.jsonl", lines))
    assert [sample.name for sample in dataset.samples] == ["a.png"]
    assert summary(dataset.notes) == ["left out 1 picture: b.png (is not there, or cannot be opened)"]


@pytest.mark.parametrize(
    "lines",
    [
        [{"file_name": "a.png", "text": "a cat"}, {"file_name": "a.png", "text": "one cat"}],
        [{"image": "a.png", "caption": ["a cat", "one cat"], "id": 7}],
    ],
)
def test_a_folder_with_captions(lines: list[Any], tmp_path: Path) -> None:
    """``metadata.jsonl`` beside the pictures gives captions; several captions of a picture are several references."""
    (sample,) = open_dataset(write_jsonl(tmp_path / "metadata.jsonl", lines).parent).samples
    assert sample.questions == (Question("<CAPTION>", answers=("a cat", "one cat")),)


def test_captions_in_a_table(tmp_path: Path) -> None:
    """``metadata.csv`` gives captions, even with a byte order mark and line breaks; other CSV files are ignored."""
    write_picture(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_text('file_name,text\na.png,"a cat,\nasleep"\n', encoding="utf-8-sig")
    (tmp_path / "other.csv").write_text("x,y\n1,2\n")
    dataset = open_dataset(tmp_path)
    assert (dataset.kind, dataset.samples[0].questions[0].answers) == ("folder with captions", ("a cat,\nasleep",))
    (tmp_path / "metadata.csv").write_text('file_name,text\na.png,"a cat\n')
    with pytest.raises(DatasetError, match=r"metadata\.csv"):
        open_dataset(tmp_path / "metadata.csv")
