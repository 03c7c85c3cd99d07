"""A detector over feature maps: a pyramid down to stride 4, and at each of its places classes and a box.

It is CenterNet's idea (Zhou et al., 2019) with the box targets of TTFNet (Liu et al., AAAI 2020): no anchors, and no
suppression of doubles, because each object has one peak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

STRIDE = 4
SIDE_OF_ONE = 16.0
"""The distance in pixels from a place to a side of its box where the head gives 0; it gives logarithms."""
SPREAD = 0.12
"""Standard deviation of an object's peak in the target, as a share of its side."""
BOXES = 50
"""Boxes of an answer, the most certain of all places."""


class Places(NamedTuple):
    """What the head says at each place.

    classes (B, K, h, w): logits; sides (B, 4, h, w): distances to left, top, right and bottom of the box in pixels.
    """

    classes: Tensor
    sides: Tensor


class Lateral(nn.Module):
    """Map a level of the backbone (B, C, h, w), which has no norm behind it, to (B, width, h, w)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(channels), nn.Linear(channels, width)

    def forward(self, level: Tensor) -> Tensor:
        """Normalise each place over its channels, then mix them."""
        mixed: Tensor = self.linear(self.norm(level.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return mixed


class Detector(nn.Module):
    """Map pixels (B, 3, H, W) to :class:`Places` of stride 4.

    Args:
        backbone: gives maps of strides 4, 8, 16 and 32, as transformers' backbones do.
        classes: the number of labels.
        width: channels of the pyramid.
    """

    def __init__(self, backbone: Any, classes: int, width: int = 64) -> None:
        super().__init__()
        self.use(backbone)
        self.laterals = nn.ModuleList(Lateral(channels, width) for channels in backbone.channels)
        self.smooth = nn.Sequential(*_block(width), *_block(width))
        self.classes, self.sides = nn.Conv2d(width, classes, 1), nn.Conv2d(width, 4, 1)
        nn.init.constant_(self.classes.bias, -4.6)  # type: ignore[arg-type] # a probability of 0.01 to begin with

    def use(self, backbone: Any) -> None:
        """Take the maps from another backbone."""
        self.backbone = backbone

    def forward(self, pixels: Tensor) -> Places:
        """Return logits and boxes at each place."""
        together: Tensor | None = None
        maps = self.backbone(pixels).feature_maps
        for lateral, each in reversed(list(zip(self.laterals, maps, strict=True))):
            added = lateral(each)
            together = added if together is None else added + F.interpolate(together, size=added.shape[-2:])
        features = self.smooth(together)
        return Places(self.classes(features), self.sides(features).clamp(-4, 4).exp() * SIDE_OF_ONE)

    def loss(self, places: Places, boxes: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a batch; boxes (B, M, 4) in pixels, labels (B, M) with -1 where there is none."""
        peaks = _peaks(boxes, labels, places.classes.shape[-2:])
        weights, nearest = peaks.max(1)
        sides = _sides(boxes, places.sides.shape[-2:]).gather(1, nearest[:, None, None].expand(-1, 1, 4, -1, -1))[:, 0]
        overlap = generalised_iou(places.sides, sides)
        weights = weights * (weights > 0.3)
        boxed = ((1 - overlap) * weights).sum() / weights.sum().clamp(min=1)
        return _focal(places.classes, _by_class(peaks, labels, places.classes.shape[1])) + 2 * boxed

    @torch.no_grad()
    def answers(self, pixels: Tensor) -> list[list[tuple[int, float, float, float, float, float]]]:
        """Return the boxes of each picture as (label, x1, y1, x2, y2, confidence), the most certain first."""
        places = self(pixels)
        scores = places.classes.sigmoid()
        scores = scores * (scores == F.max_pool2d(scores, 3, 1, 1))
        best, index = scores.flatten(1).topk(BOXES)
        size = scores.shape[-2] * scores.shape[-1]
        corners = _corners(places.sides).flatten(2).gather(2, (index % size)[:, None].expand(-1, 4, -1))
        return [
            [(label, *box, score) for label, box, score in zip(labels, boxed, certain, strict=True)]
            for labels, boxed, certain in zip(
                (index // size).tolist(), corners.transpose(1, 2).tolist(), best.tolist(), strict=True
            )
        ]


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the generalised IoU of two boxes about one place; sides (B, 4, h, w) give (B, h, w)."""
    least, most = torch.minimum(a, b), torch.maximum(a, b)
    common, hull = (_area(each) for each in (least, most))
    union = _area(a) + _area(b) - common
    return common / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)


def _area(sides: Tensor) -> Tensor:
    left, top, right, bottom = sides.clamp(min=0).unbind(1)
    return (left + right) * (top + bottom)


def _block(width: int) -> list[nn.Module]:
    return [nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(8, width), nn.GELU()]


def _centres(size: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return y (h, 1) and x (1, w) of the places in pixels."""
    y, x = ((torch.arange(side, device=device) + 0.5) * STRIDE for side in size)
    return y[:, None], x[None]


def _peaks(boxes: Tensor, labels: Tensor, size: Sequence[int]) -> Tensor:
    """Return a bell (B, M, h, w) at the centre of each box, 1 at the place that is nearest; 0 where there is no box."""
    y, x = _centres(size, boxes.device)
    centre, sides = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    nearest = ((centre / STRIDE).floor() + 0.5) * STRIDE
    spread = (SPREAD * sides).clamp(min=STRIDE / 2)
    across = (x - nearest[..., 0, None, None]) / spread[..., 0, None, None]
    down = (y - nearest[..., 1, None, None]) / spread[..., 1, None, None]
    return torch.exp(-(across**2 + down**2) / 2) * (labels >= 0)[..., None, None]


def _sides(boxes: Tensor, size: Sequence[int]) -> Tensor:
    """Return the distances (B, M, 4, h, w) from each place to the sides of each box."""
    y, x = _centres(size, boxes.device)
    x1, y1, x2, y2 = boxes[..., None, None].unbind(2)
    shape = (*boxes.shape[:2], *size)
    return torch.stack([each.expand(shape) for each in (x - x1, y - y1, x2 - x, y2 - y)], 2)


def _corners(sides: Tensor) -> Tensor:
    """Return x1, y1, x2, y2 (B, 4, h, w) of the boxes at the places."""
    y, x = _centres(sides.shape[-2:], sides.device)
    left, top, right, bottom = sides.unbind(1)
    return torch.stack([x - left, y - top, x + right, y + bottom], 1)


def _by_class(peaks: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the highest peak (B, K, h, w) of each label at each place."""
    of_class = F.one_hot(labels.clamp(min=0), classes)[..., None, None] * peaks[:, :, None]
    return of_class.amax(1)


def _focal(logits: Tensor, peaks: Tensor) -> Tensor:
    """Return CornerNet's focal loss, per object: places beside a peak count less the closer they are."""
    right, chosen = peaks == 1, logits.sigmoid()
    hit = F.logsigmoid(logits) * (1 - chosen) ** 2
    missed = F.logsigmoid(-logits) * chosen**2 * (1 - peaks) ** 4
    return -torch.where(right, hit, missed).sum() / right.sum().clamp(min=1)
