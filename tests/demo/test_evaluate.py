"""The demo's measures: the truth gets full marks, and empty answers get none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from evaluate import evaluate
from PIL import Image
from questions import Question, ask
from scenes import make_scene

from f2edge.tasks.table import TASKS
from tests.support.evaluations import answer

if TYPE_CHECKING:
    from f2edge.image import ImageSource
    from f2edge.result import Result

SEED = 2000
COUNT = 8
ERROR_RATES = ("ocr_cer", "ocr_region_cer", "region_ocr_cer")


def _result(question: Question, text: str, *, located: bool) -> Result:
    if not located:
        return answer(question.task, text)
    return answer(
        question.task,
        text,
        labels=tuple(question.labels),
        boxes=() if question.polygons else tuple(map(tuple, question.boxes)),
        quads=tuple(map(tuple, question.quads)),
        polygons=tuple((tuple(p),) for p in question.polygons),
        confidences=(0.9,) * len(question.boxes or question.labels),
    )


class _Oracle:
    """A model that knows the scenes in order and answers the truth, or nothing."""

    def __init__(self, *, silent: bool) -> None:
        self.silent = silent
        self.index = -1
        self.size = (0, 0)
        self.asked: list[str] = []

    def encode(self, image: ImageSource) -> _Oracle:
        assert isinstance(image, Image.Image)
        self.index += 1
        scene = make_scene(SEED, self.index)
        assert image.tobytes() == scene.image.tobytes()
        self.size = scene.image.size
        rng = np.random.default_rng([SEED, self.index, 1])
        self.questions = {f"<{question.task}>": question for question in ask(scene, rng)}
        return self

    def run(
        self,
        task: str,
        text: str | None = None,
        *,
        region: tuple[float, float, float, float] | None = None,
        num_beams: int | None = None,
    ) -> Result:
        assert num_beams is None
        question = self.questions[task]
        assert (text or "") == ("" if question.region else question.text)
        assert region == question.region
        self.asked.append(task)
        return _result(question, "" if self.silent else question.answer, located=not self.silent)


def test_the_truth_gets_full_marks() -> None:
    """True answers score 1 everywhere with no reading error, and every picture is asked a question of every task."""
    oracle = _Oracle(silent=False)
    scores = evaluate(oracle, COUNT, SEED)
    assert sorted(oracle.asked) == sorted([*TASKS] * COUNT)
    assert all(value == (0 if name in ERROR_RATES else pytest.approx(1)) for name, value in scores.items())


def test_silence_gets_none() -> None:
    """Empty answers score 0, and the error rates of reading are 1; only of what is not there silence is right."""
    scores = evaluate(_Oracle(silent=True), COUNT, SEED)
    assert all(value == (1 if name in ERROR_RATES else 0) for name, value in scores.items())
