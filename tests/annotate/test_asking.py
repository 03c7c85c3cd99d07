"""One picture is encoded once and asked in batches; its records are those of the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import f2edge
from f2edge.annotate.asking import Annotator
from f2edge.annotate.pictures import Picture
from f2edge.annotate.settings import ALL, Settings
from f2edge.tasks.table import short_name
from tests.support.annotations import SIZE, write_photos

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from f2edge.annotate.records import Record

OPEN = Settings(min_confidence=0, min_objects=0, num_beams=1, max_new_tokens=24)
"""Keeps nearly all that a random model says."""


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Picture:
    """Write a picture."""
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, 1)
    return Picture("00.png", folder / "00.png")


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Iterator[f2edge.Florence2]:
    """Open the tiny bundle."""
    with f2edge.load(tiny_bundle, workers=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def records(model: f2edge.Florence2, photo: Picture) -> list[Record]:
    """Annotate a picture with all tasks."""
    return Annotator(model, OPEN, "b" * 64, 2)(photo)


def test_a_picture_has_one_record_of_its_own(records: list[Record]) -> None:
    """It comes first; all records name the picture, its size, the bundle, the settings and the pass."""
    assert [one.kind for one in records].index("picture") == 0
    assert sum(one.kind == "picture" for one in records) == 1
    assert {(one.image, one.width, one.height) for one in records} == {("00.png", *SIZE)}
    assert {(one.bundle, one.settings, one.passed) for one in records} == {("b" * 64, OPEN.sha256(), 2)}


def test_records_are_numbered(records: list[Record]) -> None:
    """Task, text and number tell the records of a picture apart."""
    keys = [(one.task, one.source, one.index) for one in records]
    assert len(set(keys)) == len(keys)


def test_texts_are_the_answers(model: f2edge.Florence2, photo: Picture, records: list[Record]) -> None:
    """There is one text for each task of texts, with its tokens and a confidence."""
    texts = {one.task: one for one in records if one.kind == "text"}
    assert list(texts) == ["caption", "detailed_caption", "more_detailed_caption"]
    for task, one in texts.items():
        alone = model.run(photo.path, task, num_beams=1, max_new_tokens=24)
        assert one.text == alone.plain_text
        assert 0 < one.certainty <= 1
        assert one.tokens > 0
        assert alone.truncated == (one.reason == "truncated")


def test_regions_are_the_answers(model: f2edge.Florence2, photo: Picture, records: list[Record]) -> None:
    """Boxes, labels and confidences are those of ``run``; phrases are of the text that was grounded."""
    alone = model.run(photo.path, "od", num_beams=1, max_new_tokens=24)
    objects = [one for one in records if one.task == "od"]
    assert [one.box for one in objects] == list(alone.boxes)
    assert [one.label for one in objects] == list(alone.labels)
    assert [one.confidence for one in objects] == list(alone.confidences)
    texts = {one.task: one.text for one in records if one.kind == "text"}
    phrases = [one for one in records if one.kind == "phrase"]
    assert all(one.text == texts[one.source] for one in phrases)
    assert objects or phrases


def test_a_picture_is_encoded_once(model: f2edge.Florence2, photo: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tasks there are, the vision tower runs once, and the decoder takes batches."""
    calls: list[str] = []

    def counted(name: str, real: Any) -> Any:
        return lambda *arguments: (calls.append(name), real(*arguments))[1]

    for name in ("encode_image", "start_many", "start"):
        monkeypatch.setattr(model.runtime, name, counted(name, getattr(model.runtime, name)))
    Annotator(model, Settings(tasks=ALL[:7], num_beams=1, max_new_tokens=8), "b")(photo)
    assert calls == ["encode_image", "start_many"]


def test_a_picture_that_cannot_be_read(model: f2edge.Florence2, tmp_path: Path) -> None:
    """It has one record with the reason, and is no error."""
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name, reason in (("gone.jpg", "is not there"), ("broken.png", "")):
        (record,) = Annotator(model, OPEN, "b")(Picture(name, tmp_path / name))
        assert (record.image, record.kind, record.kept, record.reason) == (name, "picture", False, "unreadable")
        assert reason in record.detail
        assert record.detail


def test_only_the_tasks_that_are_asked(model: f2edge.Florence2, photo: Picture) -> None:
    """Records are of those tasks, and texts that were not grounded have no count of objects."""
    few = Settings(tasks=("<CAPTION>", "<OD>"), num_beams=1, max_new_tokens=24)
    made = Annotator(model, few, "b")(photo)
    assert {one.task for one in made} <= {"", "caption", "od"}
    assert [(one.objects, one.relations) for one in made if one.kind == "text"] == [(None, None)]
    assert {short_name(task) for task in ALL} >= {one.task for one in made} - {""}
