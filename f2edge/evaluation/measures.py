"""The metrics of each task, computed from questions and their answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from f2edge.evaluation.cider import cider
from f2edge.evaluation.detection import AveragePrecision
from f2edge.evaluation.overlap import MATCH, box_iou, mask_iou, matched
from f2edge.evaluation.statistics import Metric, Ratio
from f2edge.evaluation.texts import answer_accuracy, edit_distance, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from f2edge.evaluation.samples import Question
    from f2edge.evaluation.statistics import Statistic
    from f2edge.result import Result

CIDER = Metric("cider", "CIDEr")
EXACT = Metric("exact_match", "exact match")
RECALL = Metric("recall_at_1", "R@1, IoU 0.5")
HIT = Metric("accuracy_iou50", "accuracy, IoU 0.5")
MEAN_IOU = Metric("mean_iou", "mean IoU")
ERRORS = Metric("cer", "character error rate", higher_is_better=False)
QUAD_F1 = Metric("quad_f1", "quad F1, IoU 0.5")
BOX_F1 = Metric("box_f1", "box F1, IoU 0.5")
BOX_RECALL = Metric("box_recall", "box recall, IoU 0.5")
BOX_PRECISION = Metric("box_precision", "box precision, IoU 0.5")
REFUSED = Metric("absent_refused", "absent things refused")
ACCURACY = Metric("accuracy", "accuracy")


@dataclass(frozen=True)
class Asked:
    """A question with its answer.

    Args:
        picture: the number of the picture.
        size: (width, height) of the picture in pixels.
        question: the question and its true answer.
        result: the answer of the model.
    """

    picture: int
    size: tuple[int, int]
    question: Question
    result: Result

    @property
    def text(self) -> str:
        """The answer in words; empty if the answer is not a text."""
        answer = next(iter(self.result.answer.values()), "")
        return plain(answer) if isinstance(answer, str) else ""


Answers: TypeAlias = "Sequence[Asked]"


@dataclass(frozen=True)
class Measure:
    """How a task is measured.

    Args:
        score: turns the answers to questions of one task into metrics.
        needs: the fields that a question must have.
        labelled: "boxes" or "quads" if each of these has a label.
        absent: the field that a question may give as an empty list, because what it asks for is not in the picture.
    """

    score: Callable[[Answers], list[Statistic]]
    needs: tuple[str, ...] = ()
    labelled: str = ""
    absent: str = ""


def _captions(asked: Answers) -> list[Statistic]:
    """Measure captions.  CIDEr takes the rarity of words from the references; those of a single picture give none."""
    enough = len(asked) > 1
    consensus = cider([one.text for one in asked], [one.question.answers for one in asked]) if enough else [math.nan]
    exact = [one.text in map(plain, one.question.answers) for one in asked]
    return [Ratio(CIDER, _pictures(asked), consensus), Ratio(EXACT, _pictures(asked), exact)]


def _objects(asked: Answers) -> list[Statistic]:
    """Measure detection; COCO takes one answer per picture, so each question counts as a picture."""
    truth = []
    for question in (one.question for one in asked):
        crowd = question.crowd or (False,) * len(question.boxes)
        truth.append([(n, *b, c) for n, b, c in zip(question.labels, question.boxes, crowd, strict=True)])
    answered = [
        [(n, *b, c) for n, b, c in zip(r.labels, r.boxes, r.confidences, strict=True)]
        for r in (o.result for o in asked)
    ]
    return [AveragePrecision(truth, answered)]


def _phrases(asked: Answers) -> list[Statistic]:
    """Measure phrase grounding: a phrase is right if the first box that the model labels with it fits any true box."""
    pictures, hits = [], []
    for one in asked:
        first = {_key(n): b for n, b in zip(reversed(one.result.labels), reversed(one.result.boxes), strict=True)}
        for phrase in dict.fromkeys(map(_key, one.question.labels)):
            right = [b for n, b in zip(one.question.labels, one.question.boxes, strict=True) if _key(n) == phrase]
            pictures.append(one.picture)
            hits.append(_fits(first.get(phrase, ()), right))
    return [Ratio(RECALL, _dense(pictures), hits)]


def _expressions(asked: Answers) -> list[Statistic]:
    """Measure open-vocabulary detection: the first box where there is something, and all boxes as an F1 score."""
    present = [one for one in asked if one.question.boxes]
    hits = [_fits(one.result.boxes[0] if one.result.boxes else (), one.question.boxes) for one in present]
    twice = [2 * _matched_boxes(one) for one in asked]
    of = [len(one.result.boxes) + len(one.question.boxes) for one in asked]
    statistics = _mean(HIT, present, hits)
    return [*statistics, Ratio(BOX_F1, _pictures(asked), twice, of), *_refusals(asked, "boxes")]


def _proposals(asked: Answers) -> list[Statistic]:
    """Measure region proposals: boxes whose labels do not count."""
    pictures, right = _pictures(asked), [_matched_boxes(one) for one in asked]
    wanted, given = [len(one.question.boxes) for one in asked], [len(one.result.boxes) for one in asked]
    return [Ratio(BOX_RECALL, pictures, right, wanted), Ratio(BOX_PRECISION, pictures, right, given)]


def _matched_boxes(one: Asked) -> int:
    return matched(one.result.boxes, one.question.boxes, box_iou)


def _masks(asked: Answers) -> list[Statistic]:
    present = [one for one in asked if one.question.polygons]
    overlaps = []
    for one in present:
        polygons = [polygon for thing in one.result.polygons for polygon in thing]
        overlaps.append(mask_iou(polygons, one.question.polygons, one.size))
    return [*_mean(MEAN_IOU, present, overlaps), *_refusals(asked, "polygons")]


def _refusals(asked: Answers, field: str) -> list[Statistic]:
    """Measure the questions about what is not there: right is an answer without any box or polygon."""
    absent = [one for one in asked if not getattr(one.question, field)]
    return _mean(REFUSED, absent, [not getattr(one.result, field) for one in absent])


def _mean(metric: Metric, asked: Answers, values: Sequence[float]) -> list[Statistic]:
    """Return the mean over some of the questions; nothing if there are none."""
    return [Ratio(metric, _pictures(asked), values)] if asked else []


def _readings(asked: Answers) -> list[Statistic]:
    """Measure OCR; if several readings are right, the closest counts."""
    pairs = [_closest(one.text, one.question.answers) for one in asked]
    return [_error_rate(asked, pairs)]


def _read_quads(asked: Answers) -> list[Statistic]:
    pairs = [_closest(" ".join(one.result.labels), [" ".join(one.question.labels)]) for one in asked]
    twice = [2 * matched(one.result.quads, one.question.quads) for one in asked]
    of = [len(one.result.quads) + len(one.question.quads) for one in asked]
    return [_error_rate(asked, pairs), Ratio(QUAD_F1, _pictures(asked), twice, of)]


def _categories(asked: Answers) -> list[Statistic]:
    return [Ratio(ACCURACY, _pictures(asked), [one.text in map(plain, one.question.answers) for one in asked])]


def _replies(asked: Answers) -> list[Statistic]:
    return [Ratio(ACCURACY, _pictures(asked), [answer_accuracy(one.text, one.question.answers) for one in asked])]


def _closest(read: str, truths: Sequence[str]) -> tuple[int, int]:
    """Return the numbers of wrong characters and of characters to read, for the closest truth."""
    distances = [(edit_distance(plain(read), plain(truth)), len(plain(truth))) for truth in truths]
    return min(distances)


def _error_rate(asked: Answers, pairs: Sequence[tuple[int, int]]) -> Ratio:
    """Return the character error rate; text read where there is none counts as insertions."""
    return Ratio(ERRORS, _pictures(asked), [wrong for wrong, _ in pairs], [length for _, length in pairs])


def _fits(box: Sequence[float], right: Sequence[Sequence[float]]) -> bool:
    return any(box_iou(box, one) >= MATCH for one in right)


def _key(label: str) -> str:
    return plain(label).casefold()


def _pictures(asked: Answers) -> list[int]:
    return _dense([one.picture for one in asked])


def _dense(pictures: Sequence[int]) -> list[int]:
    """Renumber pictures without gaps."""
    order = {picture: number for number, picture in enumerate(dict.fromkeys(pictures))}
    return [order[picture] for picture in pictures]


_CAPTION = Measure(_captions, ("answers",))
_OBJECTS = Measure(_objects, labelled="boxes")
_MASK = Measure(_masks, ("polygons",), absent="polygons")
_READING = Measure(_readings, ("answers",))

MEASURES = {
    "<CAPTION>": _CAPTION,
    "<DETAILED_CAPTION>": _CAPTION,
    "<MORE_DETAILED_CAPTION>": _CAPTION,
    "<REGION_TO_DESCRIPTION>": _CAPTION,
    "<OD>": _OBJECTS,
    "<DENSE_REGION_CAPTION>": _OBJECTS,
    "<CAPTION_TO_PHRASE_GROUNDING>": Measure(_phrases, ("labels", "boxes"), "boxes"),
    "<OPEN_VOCABULARY_DETECTION>": Measure(_expressions, ("boxes",), absent="boxes"),
    "<REGION_PROPOSAL>": Measure(_proposals, ("boxes",)),
    "<REFERRING_EXPRESSION_SEGMENTATION>": _MASK,
    "<REGION_TO_SEGMENTATION>": _MASK,
    "<OCR>": _READING,
    "<REGION_TO_OCR>": _READING,
    "<OCR_WITH_REGION>": Measure(_read_quads, labelled="quads"),
    "<REGION_TO_CATEGORY>": Measure(_categories, ("answers",)),
    "": Measure(_replies, ("answers",)),
}
"""The measure of each task.  The empty name is a question in free words."""
