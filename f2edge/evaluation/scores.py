"""Compare the metrics of several models, with confidence intervals of the metrics and of their differences."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from f2edge.evaluation.measures import MEASURES
from f2edge.evaluation.statistics import RESAMPLES, bootstrap, estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from f2edge.evaluation.asking import Run
    from f2edge.evaluation.measures import Asked
    from f2edge.evaluation.statistics import Estimate, Metric


@dataclass(frozen=True)
class Row:
    """One metric of one task.

    Args:
        task: the name of the task, such as ``<OD>``; empty for questions in free words.
        metric: the metric.
        count: the number of questions, phrases or boxes that it is over.
        estimates: one estimate per model.
        differences: the difference of each other model to the first.
    """

    task: str
    metric: Metric
    count: int
    estimates: tuple[Estimate, ...]
    differences: tuple[Estimate, ...]


@dataclass(frozen=True)
class Agreement:
    """How far the answers of a model equal those of the first, token for token.

    Args:
        questions: the number of questions that were compared.
        identical: the share of answers with the same tokens throughout, 0 to 1.
        first_divergence: the median number of tokens before the first difference, over the answers that differ; None
            if none does.
    """

    questions: int
    identical: float
    first_divergence: float | None


def score(runs: Sequence[Run], resamples: int = RESAMPLES) -> list[Row]:
    """Measure all tasks on the questions that every model answered.

    Args:
        runs: the answers of one or several models about the same samples.
        resamples: the number of bootstrap draws for the intervals; 0 for no intervals.
    """
    common = _common(runs)
    rows = []
    for task in MEASURES:
        asked = [[one for one in answers if one.question.task == task] for answers in common]
        if asked[0]:
            rows += _rows(task, asked, resamples)
    return rows


def agreement(first: Run, other: Run) -> Agreement:
    """Compare the tokens of the questions that both models answered; the decoder start token is not counted."""
    pairs = list(zip(*_common([first, other]), strict=True))
    lengths = [_agreeing(one.result.token_ids, two.result.token_ids) for one, two in pairs]
    differing = [length for length in lengths if length is not None]
    return Agreement(len(pairs), 1 - len(differing) / len(pairs), median(differing) if differing else None)


def _common(runs: Sequence[Run]) -> list[list[Asked]]:
    keys = sorted(set.intersection(*(set(run.answers) for run in runs)))
    return [[run.answers[key] for key in keys] for run in runs]


def _rows(task: str, asked: Sequence[Sequence[Asked]], resamples: int) -> list[Row]:
    rows = []
    for statistics in zip(*(MEASURES[task].score(answers) for answers in asked), strict=True):
        drawn = bootstrap(statistics, resamples)
        for index, metric in enumerate(statistics[0].metrics):
            values = drawn[:, :, index].T
            differences = tuple(estimate(other - values[0]) for other in values[1:])
            rows.append(Row(task, metric, statistics[0].count, tuple(map(estimate, values)), differences))
    return rows


def _agreeing(a: Sequence[int], b: Sequence[int]) -> int | None:
    """Count the tokens after the start token before the first difference; None if all agree."""
    if a == b:
        return None
    differs = (index for index, (one, two) in enumerate(zip(a, b, strict=False)) if one != two)
    return next(differs, min(len(a), len(b))) - 1
