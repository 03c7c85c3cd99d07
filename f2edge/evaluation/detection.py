"""Compute the mean average precision of COCO with faster-coco-eval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from f2edge.errors import MissingExtraError
from f2edge.evaluation.statistics import Metric

try:
    from faster_coco_eval import COCO, COCOeval_faster
except ImportError as error:
    raise MissingExtraError("faster-coco-eval", "eval") from error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from f2edge.arrays import IntArray

_LARGEST = 1e10  # square pixels: boxes of all sizes, as COCO's own code bounds them
_MOST = 100  # boxes per picture, as in COCO's metric


class AveragePrecision:
    """mAP over IoU from 0.5 to 0.95, and AP50; a category is a label, whatever its case.

    Pictures are matched once; the metric of a draw of pictures accumulates their matches as COCO does.

    Args:
        truth: the boxes of each picture as (label, x1, y1, x2, y2, crowd).
        answered: the boxes that the model gave, as (label, x1, y1, x2, y2, confidence).
    """

    metrics: tuple[Metric, ...] = (Metric("map", "mAP"), Metric("ap50", "AP50"))

    def __init__(
        self, truth: Sequence[Sequence[tuple[Any, ...]]], answered: Sequence[Sequence[tuple[Any, ...]]]
    ) -> None:
        self.pictures, self.count = len(truth), sum(map(len, truth))
        labels = sorted({box[0].casefold() for boxes in truth for box in boxes})
        self._categories = {label: number for number, label in enumerate(labels, start=1)}
        wanted, given = list(self._boxes(truth, "iscrowd")), list(self._boxes(answered, "score"))
        self._silent = not given
        if not self._silent:
            self._measure = _evaluated(self._dataset(wanted), given)
            self._matches = list(self._measure._evalImgs_cpp)  # noqa: SLF001 - what accumulate() reads

    def __call__(self, picks: IntArray) -> Sequence[float]:
        """Return mAP and AP50 over these pictures; NaN if there is no box to find."""
        if self._silent:
            return [0.0, 0.0] if self.count else [float("nan")] * 2
        matches = np.arange(len(self._matches)).reshape(-1, self.pictures)[:, picks].ravel()
        self._measure._evalImgs_cpp = [self._matches[k] for k in matches]  # noqa: SLF001
        self._measure.accumulate()
        precision = self._measure.eval["precision"]  # (IoU, recall, category, area, boxes per picture)
        return [_mean_of_valid(precision), _mean_of_valid(precision[0])]

    def _boxes(self, pictures: Iterable[Sequence[tuple[Any, ...]]], last: str) -> Iterable[dict[str, Any]]:
        """Yield entries in the format of COCO; a label that is no category does not count."""
        for picture, boxes in enumerate(pictures, start=1):
            for label, x1, y1, x2, y2, value in boxes:
                if category := self._categories.get(label.casefold()):
                    width, height = max(x2 - x1, 0.0), max(y2 - y1, 0.0)
                    place = {"bbox": [x1, y1, width, height], "area": width * height, last: value}
                    yield {"image_id": picture, "category_id": category, "iscrowd": 0} | place

    def _dataset(self, wanted: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {
            "info": {},
            "images": [{"id": picture} for picture in range(1, self.pictures + 1)],
            "categories": [{"id": number, "name": label} for label, number in self._categories.items()],
            "annotations": [entry | {"id": number} for number, entry in enumerate(wanted, start=1)],
        }


def _evaluated(truth: dict[str, Any], answered: list[dict[str, Any]]) -> Any:
    dataset = COCO(truth)
    measure = COCOeval_faster(dataset, dataset.loadRes(answered), "bbox", separate_eval=True)
    measure.params.areaRng, measure.params.areaRngLbl = [[0, _LARGEST]], ["all"]
    measure.params.maxDets = [_MOST]
    measure.evaluate()
    return measure


def _mean_of_valid(precision: Any) -> float:
    """Return the mean over all valid values; COCO marks a category without a box by -1."""
    valid = precision[precision > -1]
    return float(valid.mean()) if valid.size else float("nan")
