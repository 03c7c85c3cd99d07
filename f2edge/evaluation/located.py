"""Tell which objects of an answer are right: the label is that of a true object, and they overlap by IoU 0.5."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from f2edge.evaluation.overlap import MATCH, box_iou, iou_table, mask_iou, paired, quad_iou
from f2edge.evaluation.texts import plain
from f2edge.tasks.table import FREE_TEXT, TASKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from f2edge.evaluation.measures import Asked
    from f2edge.evaluation.samples import Question
    from f2edge.result import Result


def overlaps(asked: Asked) -> NDArray[np.float64]:
    """Return for each object of an answer its IoU with the true object that it stands for.

    Pairs are made of the same label, the best first, and each true object is in one pair.

    Returns:
        (objects,) float64: at least 0.5 for an object that is right, 0 for one that is wrong, NaN for one that cannot
        be marked, since it is within a crowd or the truth has no shapes of its kind.
    """
    result, question = asked.result, asked.question
    table = _table(result, question, asked.size)
    if table is None:
        return np.full(len(result.labels), np.nan)
    table[~_same_labels(result, question, table.shape[1])] = 0.0
    crowd = np.array(question.crowd if result.boxes and question.crowd else (False,) * table.shape[1], bool)
    in_crowd = (table[:, crowd] >= MATCH).any(axis=1)
    found = paired(table[:, ~crowd])
    found[(found == 0) & in_crowd] = np.nan
    return found


def _table(result: Result, question: Question, size: tuple[int, int]) -> NDArray[np.float64] | None:
    """Return the IoU of each object with each true object, (objects, true objects); None for other shapes."""
    masks = [question.polygons] if question.polygons else []
    kinds = (
        (quad_iou, result.quads, question.quads),
        (partial(mask_iou, size=size), result.polygons, masks),
        (box_iou, result.boxes, question.boxes),
    )
    iou, answered, truth = next((kind for kind in kinds if kind[1]), kinds[-1])
    if not truth and any(of_kind for _, _, of_kind in kinds):
        return None
    return iou_table(answered, truth, iou)


def _same_labels(result: Result, question: Question, truths: int) -> NDArray[np.bool_]:
    """Tell which objects have the label of which true object, whatever its case; without labels all do."""
    if not TASKS.get(question.task, FREE_TEXT).labelled or len(question.labels) != truths:
        return np.ones((len(result.labels), truths), bool)
    answered, right = (
        np.array([plain(one).casefold() for one in labels], object) for labels in (result.labels, question.labels)
    )
    same: NDArray[np.bool_] = answered[:, None] == right[None, :]
    return same
