"""The pictures that INT8 is calibrated on, and the questions asked about them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from f2edge.calibration.questions import PROMPTS_PER_PICTURE, prompts
from f2edge.calibration.sources import select_samples
from f2edge.errors import DatasetError, InputError
from f2edge.evaluation import Question, Sample
from f2edge.tasks.table import TASKS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write six pictures, two of them in a subfolder, a text file and a truncated picture."""
    (tmp_path / "below").mkdir()
    for name in ("a.png", "b.jpg", "c.PNG", "d.webp", "below/e.png", "below/f.bmp"):
        Image.new("RGB", (8, 6), "red").save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "broken.jpg").write_bytes((tmp_path / "b.jpg").read_bytes()[:200])
    return tmp_path


def test_a_seed_gives_the_same_pictures_each_time(folder: Path) -> None:
    """The same seed selects the same pictures, another seed others."""
    chosen = select_samples(folder, 3, seed=1).samples
    assert chosen == select_samples(folder, 3, seed=1).samples
    assert len({sample.name for sample in chosen}) == 3
    assert any(select_samples(folder, 3, seed=seed).samples != chosen for seed in range(2, 6))


def test_unreadable_pictures_are_named_and_replaced(folder: Path) -> None:
    """An unreadable picture is named; files that are not pictures are ignored."""
    selection = select_samples(folder, 100)
    assert len(selection.samples) == 6
    assert selection.unreadable == ("broken.jpg",)
    assert selection.left_out[0].startswith("left out 1 picture: broken.jpg (cannot be decoded, it seems damaged")


def test_a_data_set_brings_its_questions(folder: Path) -> None:
    """A JSONL beside the pictures gives the questions; a missing picture is reported as unreadable."""
    lines = [{"image": name, "questions": [{"task": "caption", "answer": "red"}]} for name in ("a.png", "gone.png")]
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    selection = select_samples(folder, 100)
    assert [(sample.name, sample.questions[0].task) for sample in selection.samples] == [("a.png", "<CAPTION>")]
    assert selection.unreadable == ("gone.png",)


def test_a_coco_file(folder: Path) -> None:
    """The annotation file itself may be given; one without annotations is refused."""
    box = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4], "iscrowd": 0}
    coco = {"images": [{"id": 1, "file_name": "b.jpg"}], "categories": [{"id": 1, "name": "red"}], "annotations": [box]}
    file = folder / "instances.json"
    file.write_text(json.dumps(coco))
    (sample,) = select_samples(file, 4).samples
    assert (sample.name, sample.questions[0].labels) == ("b.jpg", ("red",))
    file.write_text(json.dumps(coco | {"annotations": []}))
    with pytest.raises(DatasetError, match="without annotations"):
        select_samples(file, 4)


def test_other_files_beside_pictures(folder: Path) -> None:
    """Other files do not turn the folder into a data set; they are named with the reason."""
    for name, content in (("empty.json", ""), ("numbers.json", "[1, 2]"), ("._captions.json", "x")):
        (folder / name).write_text(content)
    selection = select_samples(folder, 100)
    assert len(selection.samples) == 6
    line, _broken = selection.left_out
    assert line.startswith("left out 3 files: ._captions.json (hidden), empty.json (")


def test_a_data_set_in_another_encoding(folder: Path) -> None:
    """A data set in a Unicode encoding is read; Latin-1 is refused in one line, because reading it would be a guess."""
    line = json.dumps({"image": "a.png", "questions": [{"task": "caption", "answer": "caf\u00e9"}]}, ensure_ascii=False)
    file = folder / "questions.jsonl"
    file.write_text(line, encoding="utf-16")
    assert select_samples(folder, 100).samples[0].questions[0].answers == ("caf\u00e9",)
    file.write_text('{"image": "a.png", "questions": []}\n' + line, encoding="latin-1")
    with pytest.raises(DatasetError, match=r"questions\.jsonl, line 2 .*is not UTF-8"):
        select_samples(folder, 100)


@pytest.mark.parametrize("what", ["missing", "empty", "broken alone"])
def test_nothing_to_calibrate_on_is_one_clear_line(what: str, tmp_path: Path) -> None:
    """The error names the directory and what is wrong with it."""
    directory = tmp_path / "pictures"
    if what != "missing":
        directory.mkdir()
    if what == "broken alone":
        (directory / "a.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=r"pictures (is not there|holds no readable picture)"):
        select_samples(directory, 8)


def test_prompts_are_of_all_kinds() -> None:
    """A picture without questions gets a task of each kind; over all pictures, every task occurs."""
    texts = [prompt for index in range(10) for prompt in prompts(Sample("x", "x.png"), (8, 6), "a red square", index)]
    assert len(texts) == 10 * PROMPTS_PER_PICTURE
    for task in TASKS.values():
        begin = task.prompt.split("{input}")[0]
        assert any(prompt.startswith(begin) for prompt in texts), task.name
    assert any("a red square" in prompt for prompt in texts)


def test_a_picture_is_asked_its_own_questions_first() -> None:
    """A data set's regions in pixels become location tokens; a question that lacks its input is left out."""
    own = (Question("<REGION_TO_CATEGORY>", region=(0, 0, 4, 6)), Question("<CAPTION_TO_PHRASE_GROUNDING>"))
    texts = prompts(Sample("x", "x.png", own), (8, 6), "words", 0)
    assert texts[0] == "What is the region <loc_0><loc_0><loc_499><loc_999>?"
    assert len(texts) == PROMPTS_PER_PICTURE
