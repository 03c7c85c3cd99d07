"""Each question is asked once; questions that cannot be asked are left out, counted and named."""

from __future__ import annotations

from pathlib import Path

import pytest

from f2edge.errors import DatasetError, DeviceError, ImageError, LimitError
from f2edge.evaluation import Question, Sample, ask
from tests.support.evaluations import TableModel, answer

CAPTION = Question("<CAPTION>", answers=("a dog",))
REGION = Question("<REGION_TO_CATEGORY>", region=(-1.0, 0.0, 64.4, 48.0), answers=("dog",))
TABLE = {"<CAPTION>": answer("<CAPTION>", "a dog"), "<REGION_TO_CATEGORY>": answer("<REGION_TO_CATEGORY>", "dog")}


def samples(*questions: Question, pictures: int = 3) -> list[Sample]:
    """Return samples with the same questions about each picture."""
    return [Sample(f"{number}", Path(f"{number}.png"), questions) for number in range(pictures)]


def test_each_picture_is_encoded_once() -> None:
    """All questions share one encoding and the given beams; a region is clipped to the picture."""
    model, seen = TableModel(TABLE), list[str]()
    run = ask(model, samples(CAPTION, REGION), num_beams=2, progress=seen.append)
    assert (model.read, seen) == (["0.png", "1.png", "2.png"], ["0", "1", "2"])
    assert model.asked[:2] == [
        ("<CAPTION>", None, None, 2),
        ("<REGION_TO_CATEGORY>", None, (0.0, 0.0, 64.0, 48.0), 2),
    ]
    assert list(run.answers) == [(number, index) for number in range(3) for index in range(2)]
    assert run.pictures == 3


def test_pictures_that_cannot_be_read() -> None:
    """A bad picture is skipped with the reason; if no picture can be read, that is an error."""
    bad = {"1.png": ImageError("1.png is damaged")}
    run = ask(TableModel(TABLE, bad), samples(CAPTION))
    assert (run.pictures, run.skipped) == (2, {"1": "1.png is damaged"})
    assert list(run.answers) == [(0, 0), (2, 0)]
    with pytest.raises(DatasetError, match=r"none of the 1 pictures can be read; the first: 1\.png is damaged"):
        ask(TableModel(TABLE, bad), samples(CAPTION)[1:2])


def test_questions_that_cannot_be_asked() -> None:
    """A question that is refused is named; if no question is left, that is an error."""
    table = TABLE | {"<REGION_TO_CATEGORY>": LimitError("too long")}
    run = ask(TableModel(table), samples(CAPTION, REGION, pictures=2))
    assert run.refused == {"0, question 2": "too long", "1, question 2": "too long"}
    with pytest.raises(DatasetError, match="no question that can be asked: too long"):
        ask(TableModel(table), samples(REGION))
    with pytest.raises(DatasetError, match="no picture has a question"):
        ask(TableModel(table), samples())


def test_an_engine_that_fails_ends_the_run() -> None:
    """An error of the engine ends the run, because it does not concern one picture only."""
    with pytest.raises(DeviceError):
        ask(TableModel({"<CAPTION>": DeviceError("gone")}), samples(CAPTION))
