"""Measure task-level metrics of bundles on data sets in the usual formats (docs/evaluation.md).

    dataset = open_dataset("coco/annotations/instances_val2017.json").first(500)
    runs = {name: ask(f2edge.load(name), dataset.samples) for name in ("fp32", "int8")}
    print(Report.of(dataset, runs, num_beams=None).to_markdown())

This package needs the extra ``eval``.  Calibration and the search for a mix of precisions use it, too.
"""

from __future__ import annotations

from f2edge.evaluation.asking import Run, ask
from f2edge.evaluation.datasets import open_dataset
from f2edge.evaluation.measures import Asked
from f2edge.evaluation.report import Report
from f2edge.evaluation.samples import Dataset, Question, Sample
from f2edge.evaluation.scores import Agreement, Row, agreement, score

__all__ = [
    "Agreement",
    "Asked",
    "Dataset",
    "Question",
    "Report",
    "Row",
    "Run",
    "Sample",
    "agreement",
    "ask",
    "open_dataset",
    "score",
]
