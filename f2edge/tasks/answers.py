"""Answers in Microsoft's schema, and how sure the model is of each thing in them (docs/florence2.md#answer-schema)."""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeAlias

from f2edge.tasks.parsers import BOX, BOX_LABEL, LABELLED_BOXES, SPECIAL_TOKENS, find_instances
from f2edge.tasks.table import FREE_TEXT, TASKS
from f2edge.tasks.tagged_text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from f2edge.tasks.parsers import Instance, Kind
    from f2edge.tasks.table import Task

Answer: TypeAlias = "str | dict[str, list[Any]]"

_SCORED_TASKS = ("<OD>", "<DENSE_REGION_CAPTION>")


def parse(task_name: str, text: str, image_size: tuple[int, int]) -> dict[str, Answer]:
    """Read an answer as Microsoft's post-processing does; an unknown task's answer is plain text.

    Args:
        task_name: ``<OD>``.
        text: the decoded answer, special tokens kept.
        image_size: (width, height) of the original image in pixels.

    Returns:
        ``{task_name: answer}``, the answer as in docs/florence2.md#answer-schema; coordinates are float32 pixels.
    """
    task = TASKS.get(task_name, FREE_TEXT)
    return {task_name: to_answer(task, text, find_instances(task, text, image_size))}


def to_answer(task: Task, text: str, instances: Sequence[Instance]) -> Answer:
    """Put what was found into Microsoft's schema."""
    if task.parser == "pure_text":
        return text.replace("<s>", "").replace("</s>", "")
    if task.parser == "ocr":
        return _columns(instances, "quads", "quad_boxes", "labels")
    if task.parser == "polygons":
        return _columns(instances, "polygons", "polygons", "labels")
    if task.parser == "boxes_or_polygons":
        boxes = _columns(instances, "boxes", "bboxes", "bboxes_labels")
        return boxes | _columns(instances, "polygons", "polygons", "polygons_labels")
    return _columns(instances, "boxes", "bboxes", "labels")


def _columns(instances: Sequence[Instance], kind: Kind, shapes: str, labels: str) -> dict[str, list[Any]]:
    found = [instance for instance in instances if instance.kind == kind]
    return {
        shapes: [list(one.shapes) if kind == "polygons" else one.shapes[0] for one in found],
        labels: [_ascii(one.label) if kind == "boxes" else one.label for one in found],
    }


def confidences(instances: Sequence[Instance], pieces: Sequence[str], token_logprobs: Sequence[float]) -> list[float]:
    """How sure the model is of where each thing is: exp of the mean log-probability of its location tokens.

    Args:
        instances: found in the joined ``pieces``.
        pieces: the text of each token, from the decoder start token.
        token_logprobs: one per token after the start token.
    """
    starts = list(accumulate(map(len, pieces), initial=0))[:-1]
    found = []
    for instance in instances:
        tokens = [bisect_right(starts, offset) - 1 for offset in instance.offsets]
        found.append(_exp_mean([token_logprobs[token - 1] for token in tokens]))
    return found


def microsoft_scores(task: Task, pieces: Sequence[str], token_logprobs: Sequence[float]) -> list[float]:
    """Scores of the boxes as Microsoft's code gives them: in two tasks, elsewhere none (docs/florence2.md#scores).

    Its bookkeeping takes it that labelled boxes follow each other without a gap, after one ``<s>``.  In such
    answers the scores equal :func:`confidences`; in others they are those of neighbouring tokens.

    Args:
        task: what was asked.
        pieces: the text of each token, without the decoder start token.
        token_logprobs: one per piece.
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


def _ascii(label: str) -> str:
    return label.encode("ascii", "ignore").decode("ascii")
