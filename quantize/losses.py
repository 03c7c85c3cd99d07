"""Measure the loss of task metrics on the calibration pictures.

The truth is that of the data set if it has questions, else the answers of the float model.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from f2edge.errors import DatasetError
from f2edge.evaluation import Question, ask, score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from f2edge.evaluation import Run, Sample
    from f2edge.evaluation.scores import Row
    from f2edge.model import Florence2


def with_truth(model: Florence2, samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples; if none has a question, with the answers of the float model as the truth."""
    if any(sample.questions for sample in samples):
        return list(samples)
    return [replace(sample, questions=_answered(model, sample)) for sample in samples]


def _answered(model: Florence2, sample: Sample) -> tuple[Question, ...]:
    image = model.encode(sample.image)
    caption, objects = image.run("<CAPTION>"), image.run("<OD>")
    words = Question("<CAPTION>", answers=(caption.plain_text or " ",))
    return words, Question("<OD>", labels=objects.labels, boxes=objects.boxes)


class Losses:
    """The answers of the float model, with which those of other models are compared.

    Args:
        model: the float model.
        samples: pictures with questions and their truth.
    """

    def __init__(self, model: Florence2, samples: Sequence[Sample]) -> None:
        self._samples = samples
        self._float = ask(model, samples)

    def of(self, model: Florence2) -> float:
        """Return the largest loss of any metric of any task; 0.01 is one per cent of the value of the float model.

        For an error rate the loss is the increase in points.  A metric better than that of the float model loses 0.
        """
        return largest_loss(self._float, ask(model, self._samples))


def largest_loss(reference: Run, other: Run) -> float:
    """Return the largest loss of any metric; see :meth:`Losses.of`.

    Raises:
        DatasetError: no metric applies to these pictures.
    """
    losses = [_loss(row) for row in score([reference, other], resamples=0)]
    known = [loss for loss in losses if not math.isnan(loss)]
    if not known:
        raise DatasetError(
            "no metric applies to the calibration pictures; give more pictures, or a data set with questions"
        )
    return max(0.0, *known)


def _loss(row: Row) -> float:
    reference, other = (estimate.value for estimate in row.estimates)
    if not row.metric.higher_is_better:
        return other - reference
    return (reference - other) / reference if reference else math.nan
