"""Answers in the schema of Microsoft (docs/florence2.md#answer-schema)."""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

from f2edge.tasks.answer_types import (
    Answers,
    BoxesAndPolygonsAnswer,
    BoxesAnswer,
    PolygonsAnswer,
    QuadsAnswer,
    ScoredBoxesAnswer,
)
from f2edge.tasks.parsers import BOX, BOX_LABEL, LABELLED_BOXES, SPECIAL_TOKENS, find_instances
from f2edge.tasks.table import FREE_TEXT, TASKS
from f2edge.tasks.tagged_text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from f2edge.tasks.answer_types import Answer
    from f2edge.tasks.parsers import Instance
    from f2edge.tasks.table import Task

_SCORED_TASKS = ("<OD>", "<DENSE_REGION_CAPTION>")


def parse(task_name: str, text: str, image_size: tuple[int, int]) -> Answers:
    """Parse an answer as the post-processing of Microsoft does; the answer of an unknown task is plain text.

    Args:
        task_name: the name of the task, such as ``<OD>``.
        text: the decoded answer, special tokens kept.
        image_size: (width, height) of the original image in pixels.

    Returns:
        ``{task_name: answer}``, the answer as in docs/florence2.md#answer-schema; coordinates are float32 pixels.
    """
    task = TASKS.get(task_name, FREE_TEXT)
    return Answers({task_name: to_answer(task, text, find_instances(task, text, image_size))})


def to_answer(task: Task, text: str, instances: Sequence[Instance], scores: Sequence[float] = ()) -> Answer:
    """Return the objects of an answer in the schema of Microsoft.

    Args:
        task: what was asked.
        text: the decoded answer, special tokens kept.
        instances: the objects in the text, from :func:`~f2edge.tasks.parsers.find_instances`.
        scores: the scores of the boxes, from :func:`microsoft_scores`; without any the answer has no scores.
    """
    if task.parser == "pure_text":
        return text.replace("<s>", "").replace("</s>", "")
    boxes = [one for one in instances if one.kind == "boxes"]
    masks = [one for one in instances if one.kind == "polygons"]
    if task.parser == "ocr":
        return QuadsAnswer(quad_boxes=_shapes(instances), labels=_labels(instances))
    if task.parser == "polygons":
        return PolygonsAnswer(polygons=_polygons(masks), labels=_labels(masks))
    if task.parser == "boxes_or_polygons":
        return BoxesAndPolygonsAnswer(
            bboxes=_shapes(boxes),
            bboxes_labels=_ascii_labels(boxes),
            polygons=_polygons(masks),
            polygons_labels=_labels(masks),
        )
    answer = BoxesAnswer(bboxes=_shapes(boxes), labels=_ascii_labels(boxes))
    return ScoredBoxesAnswer(**answer, scores=list(scores)) if scores else answer


def _shapes(instances: Sequence[Instance]) -> list[list[float]]:
    return [one.shapes[0] for one in instances]


def _polygons(instances: Sequence[Instance]) -> list[list[list[float]]]:
    return [list(one.shapes) for one in instances]


def _labels(instances: Sequence[Instance]) -> list[str]:
    return [one.label for one in instances]


def _ascii_labels(instances: Sequence[Instance]) -> list[str]:
    return [one.label.encode("ascii", "ignore").decode("ascii") for one in instances]


def microsoft_scores(task: Task, pieces: Sequence[str], token_logprobs: Sequence[float]) -> list[float]:
    """Return the scores of boxes as Microsoft's code does, in the two tasks that have them (docs/florence2.md#scores).

    That code assumes that labelled boxes follow each other without a gap, after one ``<s>``.  In such answers a score
    is the geometric mean of the probabilities of the box's location tokens; in others those of neighbouring tokens.

    Args:
        task: the task that was asked.
        pieces: the text of each token by itself, without the decoder start token: that code decodes token by token,
            so each part of a character counts as one U+FFFD.
        token_logprobs: the log-probability of each piece.
    """
    if task.name not in _SCORED_TASKS:
        return []
    text = "".join(pieces)
    ends = list(accumulate(map(len, pieces)))
    cursor = len("<s>") if text.startswith("<s>") else 0
    scores = []
    for phrase in LABELLED_BOXES.findall(clean(text, *SPECIAL_TOKENS).text):
        for box in BOX.finditer(phrase) if BOX_LABEL.search(phrase) else ():
            first = bisect_right(ends, cursor + box.start())
            last = bisect_right(ends, cursor + box.end() - 1)
            scores.append(_exp_mean(token_logprobs[first : last + 1]))
        cursor += len(phrase)
    return scores


def _exp_mean(logprobs: Sequence[float]) -> float:
    return math.exp(sum(logprobs) / len(logprobs))
