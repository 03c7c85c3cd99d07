"""The text loss: words are right or wrong, locations are nearer or farther."""

from __future__ import annotations

from typing import NamedTuple

import torch
from batches import IGNORE_INDEX, TASKS
from torch import Tensor

BINS = 1000
LOCATION_WEIGHT = 0.7


class TextLoss(NamedTuple):
    """The loss to minimize, and its parts: means over words, over locations (above their entropy), and per task."""

    total: Tensor
    text: float
    location: float
    per_task: Tensor
    dense: float = 0.0


def text_loss(logits: Tensor, labels: Tensor, task: Tensor, first_location: int, sigma: float) -> TextLoss:
    """Return the cross-entropy of logits (Q, T, vocab) and labels (Q, T), locations softened by `sigma` bins.

    Words and locations are averaged separately; otherwise the many location tokens would outweigh the words.
    """
    known = labels != IGNORE_INDEX
    log_probabilities = logits[known].log_softmax(-1)
    wanted = labels[known]
    is_location = (wanted >= first_location) & (wanted < first_location + BINS)
    losses = -log_probabilities.gather(1, wanted[:, None])[:, 0]
    scores = log_probabilities[is_location, first_location : first_location + BINS]
    soft = _soft_targets(wanted[is_location] - first_location, sigma)
    divergence = (soft * (soft.clamp(min=1e-9).log() - scores)).sum(-1)
    losses = losses.masked_scatter(is_location, divergence)
    words, places = losses[~is_location].mean(), divergence.sum() / is_location.sum().clamp(min=1)
    per_task = _per_task(losses.detach(), task[:, None].expand_as(labels)[known])
    return TextLoss(words + LOCATION_WEIGHT * places, words.item(), places.item(), per_task)


def _soft_targets(bins: Tensor, sigma: float) -> Tensor:
    """Return a Gaussian around each bin, (N, 1000)."""
    distances = torch.arange(BINS)[None] - bins[:, None]
    weights = torch.exp(-0.5 * (distances / sigma) ** 2)
    return weights / weights.sum(-1, keepdim=True)


def _per_task(losses: Tensor, task: Tensor) -> Tensor:
    """Return the mean loss of each task, NaN for tasks that the batch lacks."""
    return torch.stack([losses[task == k].mean() for k in range(len(TASKS))])
