"""The two tasks of the study: which head, what its loss compares, and how its answers are scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from detector import Detector
from pictures import LABELS
from segmenter import Segmenter
from torch import Tensor

from f2edge.evaluation.detection import AveragePrecision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from pictures import Pictures

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH = 50
"""Pictures that are answered together."""


class Task(ABC):
    """A head over a backbone, its targets and its scores, in points of 100."""

    @abstractmethod
    def head(self, backbone: Any) -> Any:
        """Return an untrained head over a backbone."""

    @abstractmethod
    def loss(self, model: Any, batch: Pictures, device: str) -> Tensor:
        """Return the loss of a batch."""

    @abstractmethod
    def score(self, model: Any, pictures: Pictures, device: str) -> dict[str, float]:
        """Return the value of each metric over all pictures."""


class Detection(Task):
    """Boxes and labels; scored by COCO's mAP (IoU from 0.5 to 0.95) and AP50."""

    def head(self, backbone: Any) -> Detector:
        """Return a detector."""
        return Detector(backbone, len(LABELS))

    def loss(self, model: Any, batch: Pictures, device: str) -> Tensor:
        """Return the loss of boxes and labels."""
        boxes, labels = (torch.from_numpy(each).to(device) for each in (batch.boxes, batch.labels))
        loss: Tensor = model.loss(model(prepared(batch.pixels, device)), boxes, labels)
        return loss

    def score(self, model: Any, pictures: Pictures, device: str) -> dict[str, float]:
        """Compare with the boxes of all shapes, hidden parts included."""
        answered = [
            [(LABELS[label], *box) for label, *box in boxes]
            for pixels in _batches(pictures, device)
            for boxes in model.answers(pixels)
        ]
        truth = [
            [(LABELS[label], *map(float, box), False) for label, box in zip(labels, boxes, strict=True) if label >= 0]
            for labels, boxes in zip(pictures.labels, pictures.boxes, strict=True)
        ]
        values = AveragePrecision(truth, answered)(np.arange(len(truth)))
        return {each.key: round(100 * value, 2) for each, value in zip(AveragePrecision.metrics, values, strict=True)}


class Segmentation(Task):
    """A label for each pixel; scored by the mean IoU of background and labels."""

    def head(self, backbone: Any) -> Segmenter:
        """Return a segmenter."""
        return Segmenter(backbone, len(LABELS) + 1)

    def loss(self, model: Any, batch: Pictures, device: str) -> Tensor:
        """Return the loss of all pixels."""
        masks = torch.from_numpy(batch.masks).long().to(device)
        loss: Tensor = model.loss(model(prepared(batch.pixels, device)), masks)
        return loss

    def score(self, model: Any, pictures: Pictures, device: str) -> dict[str, float]:
        """Count the pixels of all pictures together, as mIoU is defined."""
        found = torch.cat([model.answers(pixels).cpu() for pixels in _batches(pictures, device)]).numpy()
        classes = len(LABELS) + 1
        pairs = np.bincount((pictures.masks.astype(np.int64) * classes + found).ravel(), minlength=classes**2)
        table = pairs.reshape(classes, classes)
        common = np.diag(table)
        iou = common / (table.sum(0) + table.sum(1) - common)
        return {"miou": round(100 * float(iou.mean()), 2)}


TASKS: dict[str, Task] = {"detector": Detection(), "segmenter": Segmentation()}


def prepared(pixels: NDArray[np.uint8], device: str) -> Tensor:
    """Return normalised pixels (B, 3, H, W) float32 of pictures (B, H, W, 3)."""
    values = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 255
    mean, deviation = (torch.tensor(each, device=device)[:, None, None] for each in (MEAN, DEVIATION))
    return (values - mean) / deviation


def _batches(pictures: Pictures, device: str) -> Iterator[Tensor]:
    for first in range(0, len(pictures.pixels), BATCH):
        yield prepared(pictures.pixels[first : first + BATCH], device)
