"""The text loss: words are right or wrong, locations are nearer or farther."""

from __future__ import annotations

from typing import NamedTuple

import torch
from batches import TASKS
from torch import Tensor

BINS = 1000
LOCATION_WEIGHT = 0.7
NARROWEST = 0.1  # a Gaussian of this width in bins is a single bin in float32


class TextLoss(NamedTuple):
    """The loss to minimize, and its parts: means over words, over locations (above their entropy), and per task."""

    total: Tensor
    text: float
    location: float
    per_task: Tensor
    dense: float = 0.0


def text_loss(logits: Tensor, labels: Tensor, task: Tensor, first_location: int, sigma: float) -> TextLoss:
    """Return the cross-entropy of logits (N, vocab) and labels (N,), locations softened by `sigma` bins; task is (N,).

    Words and locations are averaged separately; otherwise the many location tokens would outweigh the words.
    """
    log_probabilities = logits.log_softmax(-1)
    is_location = (labels >= first_location) & (labels < first_location + BINS)
    losses = -log_probabilities.gather(1, labels[:, None])[:, 0]
    scores = log_probabilities[is_location, first_location : first_location + BINS]
    soft = _soft_targets(labels[is_location] - first_location, sigma)
    divergence = (soft * (soft.clamp(min=1e-9).log() - scores)).sum(-1)
    losses = losses.masked_scatter(is_location, divergence)
    words, places = losses[~is_location].mean(), divergence.sum() / is_location.sum().clamp(min=1)
    per_task = _per_task(losses.detach(), task)
    return TextLoss(words + LOCATION_WEIGHT * places, words.item(), places.item(), per_task)


def _soft_targets(bins: Tensor, sigma: float) -> Tensor:
    """Return a Gaussian around each bin, (N, 1000); of width 0 it is the bin itself."""
    distances = torch.arange(BINS, device=bins.device)[None] - bins[:, None]
    weights = torch.exp(-0.5 * (distances / max(sigma, NARROWEST)) ** 2)
    return weights / weights.sum(-1, keepdim=True)


def _per_task(losses: Tensor, task: Tensor) -> Tensor:
    """Return the mean loss of each task, NaN for tasks that the batch lacks."""
    return torch.stack([losses[task == k].mean() for k in range(len(TASKS))])
