"""The metrics of every task, differences between models, and agreement of tokens."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from f2edge.errors import LimitError
from f2edge.evaluation import Asked, Dataset, Question, Report, Run, Sample, agreement, ask, score
from f2edge.evaluation.measures import MEASURES
from f2edge.tasks.table import TASKS
from tests.support.evaluations import SIZE, TableModel, answer

if TYPE_CHECKING:
    from f2edge.result import Result

BOX = (0.0, 0.0, 40.0, 40.0)
FAR = (41.0, 0.0, 60.0, 40.0)
QUAD = (0.0, 0.0, 20.0, 0.0, 20.0, 10.0, 0.0, 10.0)


def run_of(*pairs: tuple[Question, Result]) -> Run:
    """Return a run with one picture for each question, and the answer to it."""
    asked = {(number, 0): Asked(number, SIZE, *pair) for number, pair in enumerate(pairs)}
    return Run(asked, pictures=len(pairs))


def values(*pairs: tuple[Question, Result]) -> dict[str, float]:
    """Return the value of each metric."""
    return {row.metric.key: row.estimates[0].value for row in score([run_of(*pairs)], resamples=0)}


def test_every_task_has_a_metric() -> None:
    """Questions in free words have one, too; their task is the empty name."""
    assert set(MEASURES) == {*TASKS, ""}


def test_captions() -> None:
    """A caption that equals any reference is an exact match, whatever its white space."""
    asked = Question("<CAPTION>", answers=("a red dog runs", "one dog"))
    other = Question("<CAPTION>", answers=("the old cat sleeps",))
    metrics = values((asked, answer("<CAPTION>", " one  dog")), (other, answer("<CAPTION>", "the old cat sleeps")))
    assert metrics["exact_match"] == 1
    assert metrics["cider"] > 5
    assert math.isnan(values((asked, answer("<CAPTION>", "one dog")))["cider"])


def test_objects() -> None:
    """Detections need the right label and place; if one of two labels is detected, mAP is one half."""
    asked = Question("<OD>", labels=("dog", "cat"), boxes=(BOX, FAR))
    metrics = values((asked, answer("<OD>", labels=("Dog", "cat"), boxes=(BOX, BOX), confidences=(0.9, 0.8))))
    assert metrics == pytest.approx({"map": 0.5, "ap50": 0.5})


def test_phrases() -> None:
    """The first box with the phrase's name counts; any of its true boxes is right; a missing phrase is wrong."""
    asked = Question(
        "<CAPTION_TO_PHRASE_GROUNDING>", "x", labels=("two men", "two men", "a hat"), boxes=(BOX, FAR, BOX)
    )
    result = answer(asked.task, labels=("Two men", "two men", "hat"), boxes=(FAR, (1.0, 1.0, 2.0, 2.0), BOX))
    rows = score([run_of((asked, result))], resamples=0)
    assert [(row.metric.key, row.count, row.estimates[0].value) for row in rows] == [("recall_at_1", 2, 0.5)]


def test_expressions() -> None:
    """The accuracy is about the first box; F1 is about all: two matches of three true and four answered boxes."""
    asked = Question("<OPEN_VOCABULARY_DETECTION>", "dog", boxes=(BOX,))
    near = (0.0, 0.0, 40.0, 21.0)
    answers = [answer(asked.task, boxes=boxes) for boxes in ((near, FAR), (FAR, BOX), ())]
    metrics = values(*((asked, result) for result in answers))
    assert metrics == {"accuracy_iou50": pytest.approx(1 / 3), "box_f1": pytest.approx(4 / 7)}


def test_what_is_not_there() -> None:
    """Silence is right about what is not there; a box for it lowers F1, and the other metrics leave it out."""
    there = Question("<OPEN_VOCABULARY_DETECTION>", "dog", boxes=(BOX,))
    absent = Question("<OPEN_VOCABULARY_DETECTION>", "cat")
    answers = [answer(there.task, boxes=boxes) for boxes in ((BOX,), (), (BOX,))]
    metrics = values(*zip((there, absent, absent), answers, strict=True))
    assert metrics == {"accuracy_iou50": 1, "box_f1": pytest.approx(2 / 3), "absent_refused": 0.5}
    mask = Question("<REFERRING_EXPRESSION_SEGMENTATION>", "cat")
    assert values((mask, answer(mask.task)), (mask, answer(mask.task, polygons=((BOX,),)))) == {"absent_refused": 0.5}


def test_proposals() -> None:
    """Every box of the answer may match one true box, whatever its label."""
    asked = Question("<REGION_PROPOSAL>", boxes=(BOX, FAR))
    metrics = values((asked, answer(asked.task, boxes=(BOX, BOX, BOX))))
    assert metrics == {"box_recall": 0.5, "box_precision": pytest.approx(1 / 3)}


def test_masks() -> None:
    """All polygons of the answer together are compared with all of the truth."""
    whole, left, right = (0, 0, 9, 0, 9, 9, 0, 9), (0, 0, 4, 0, 4, 9, 0, 9), (5, 0, 9, 0, 9, 9, 5, 9)
    asked = Question("<REFERRING_EXPRESSION_SEGMENTATION>", "dog", polygons=(whole,))
    both, half = answer(asked.task, polygons=((left, right),)), answer(asked.task, polygons=((left,),))
    assert values((asked, both), (asked, half)) == {"mean_iou": pytest.approx(0.75)}


def test_reading() -> None:
    """Two wrong letters in a word of four, and three letters where there are none, give an error rate of 5/4."""
    asked = [Question("<OCR>", answers=("STOP",)), Question("<OCR>", answers=("",))]
    answers = [answer("<OCR>", "SHIP"), answer("<OCR>", " CAT\n")]
    assert values(*zip(asked, answers, strict=True)) == {"cer": 1.25}


def test_reading_with_quads() -> None:
    """F1 covers all pictures: two matches of three true and four answered quads give 4/7."""
    far = tuple(value + 30 for value in QUAD)
    first = Question("<OCR_WITH_REGION>", labels=("AB", "CD"), quads=(QUAD, far))
    second = Question("<OCR_WITH_REGION>", labels=("E",), quads=(QUAD,))
    none = Question("<OCR_WITH_REGION>")
    metrics = values(
        (first, answer(first.task, labels=("AB", "CX"), quads=(QUAD, far))),
        (second, answer(first.task, labels=("E",), quads=(far,))),
        (none, answer(first.task, labels=("F",), quads=(QUAD,))),
    )
    assert metrics == {"cer": pytest.approx(2 / 6), "quad_f1": pytest.approx(4 / 7)}


def test_words() -> None:
    """A category must match exactly; a free answer is normalised, and counts by how many of ten people agree."""
    category = Question("<REGION_TO_CATEGORY>", region=BOX, answers=("red star",))
    assert values((category, answer(category.task, "red  star")), (category, answer(category.task, "star"))) == {
        "accuracy": 0.5
    }
    reply = Question("", "what?", answers=("The Nokia!",) * 2 + ("lg",) * 8)
    assert values((reply, answer("", "nokia"))) == {"accuracy": pytest.approx(0.6)}


def test_several_models() -> None:
    """The difference to the first model covers the questions that all models answered."""
    asked = Question("<REGION_TO_CATEGORY>", region=BOX, answers=("dog",))
    right, wrong = answer(asked.task, "dog"), answer(asked.task, "cat")
    first, second = run_of(*[(asked, right)] * 40), run_of(*[(asked, right)] * 30, *[(asked, wrong)] * 10)
    del second.answers[39, 0]
    (row,) = score([first, second])
    assert row.count == 39
    assert [one.value for one in row.estimates] == [1, pytest.approx(30 / 39)]
    (difference,) = row.differences
    assert difference.value == pytest.approx(-9 / 39)
    assert -0.4 < difference.low < difference.value < difference.high < -0.08


def test_agreement() -> None:
    """The share of identical sequences, and the median step at which the others diverge, without the start token."""
    asked = Question("<CAPTION>", answers=("a",))
    first = run_of(*[(asked, answer(asked.task, token_ids=(2, 0, 5, 6, 2)))] * 4)
    others = [(2, 0, 5, 6, 2), (2, 0, 5, 7, 2), (2, 0, 9, 6, 2), (2, 0, 5, 6, 2, 2)]
    agreed = agreement(first, run_of(*((asked, answer(asked.task, token_ids=ids)) for ids in others)))
    assert (agreed.questions, agreed.identical, agreed.first_divergence) == (4, 0.25, 2)
    assert agreement(first, first).first_divergence is None


def test_report() -> None:
    """The report has a row for each metric, the difference to the first bundle, the agreement, and what is left out."""
    asked = Question("<CAPTION>", answers=("a dog",))
    samples = tuple(Sample(f"{n}.png", Path(f"{n}.png"), (asked,)) for n in range(2))
    table = {"<CAPTION>": answer("<CAPTION>", "a dog")}
    broken = TableModel({"<CAPTION>": answer("<CAPTION>", "a cat", token_ids=(2, 0, 7, 2))})
    runs = {"fp32": ask(TableModel(table), samples), "in|t8": ask(broken, samples)}
    runs["in|t8"].refused["1.png, question 9"] = str(LimitError("too long"))
    report = Report.of(Dataset("d", "JSONL of questions", samples), runs, num_beams=None)
    lines = report.to_markdown().splitlines()
    assert lines[0].startswith("2 pictures of d (JSONL of questions), num_beams of the bundle.")
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines[2:]]
    assert cells[0] == ["task", "metric", "n", "fp32", "in\\|t8", "in\\|t8 − fp32"]
    assert cells[3] == [
        "caption",
        "exact match",
        "2",
        "100.0 [100.0, 100.0]",
        "0.0 [0.0, 0.0]",
        "−100.0 [−100.0, −100.0]",
    ]
    assert [row[:5] for row in cells[4:]] == [
        ["all", "identical tokens", "2", "–", "0.0 %"],
        ["all", "tokens before the first difference, median", "2", "–", "1"],
    ]
    assert report.notes() == ["in|t8: left out 1.png, question 9: too long"]
    summary = report.to_json()
    assert summary["data"]["questions"] == {"<CAPTION>": 2}
    assert summary["bundles"][1]["metrics"]["<CAPTION>"]["exact_match"]["difference"]["value"] == -1
    assert summary["bundles"][1]["agreement"] == {"questions": 2, "identical": 0.0, "first_divergence": 1}
    assert "agreement" not in summary["bundles"][0]


def test_a_metric_that_does_not_apply() -> None:
    """A metric without a value is a dash in the table and a line in the notes."""
    pairs = ((Question("<CAPTION>", answers=("a",)), answer("<CAPTION>", "a")), (Question("<OD>"), answer("<OD>")))
    run = run_of(*pairs)
    report = Report.of(Dataset("d", "k", ()), {"one": run}, num_beams=1)
    assert [note.split(" does")[0] for note in report.notes()] == ["caption, CIDEr,", "od, mAP,", "od, AP50,"]
    assert report.to_markdown().count(" – ") == 3
