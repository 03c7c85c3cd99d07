"""How far to trust each object of an answer (docs/confidence.md).

Features of an object come out of the candidates of the steps that chose its tokens.  A fixed formula makes a score of
them, which ranks objects; a calibration of the task makes of them the probability that the object is right.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from f2edge.arrays import IntArray
    from f2edge.decoding import Generation
    from f2edge.tasks.parsers import Instance

_LEAST = 1e-6
"""A probability below counts as this: less of it says no more, and its logarithm may be infinite."""
_LOCATION = "<loc_"
_TAGS = ("<s>", "</s>", "<pad>", "<sep>", "<poly>", "</poly>")
_PAIR = 2
_LEAST_WIDTH = 8
"""Bins of the narrowest object: a narrower one is at best a guess of a few bins."""


class Features(NamedTuple):
    """What is known about an object, as natural logarithms of numbers from 0 to 1.

    Args:
        label: of the probability of all tokens of its label; 0 without one.
        place: of the geometric mean of how far each of its coordinates is certain.
    """

    label: float
    place: float

    @property
    def score(self) -> float:
        """The raw score, 0 to 1: the probability of the label times the certainty of the place."""
        return math.exp(self.label + self.place)


@dataclass(frozen=True)
class Calibration:
    """The way from features to the probability that an object of one task is right.

    Args:
        bias: of the logistic regression.
        weights: the weight of each of :class:`Features`, in their order.
        logits: the knots of the isotonic regression, strictly ascending: what the logistic regression gives ...
        confidences: ... and the probability there, 0 to 1 and not descending.
        objects: how many objects it was fitted on.
        right: how many of them were right.
    """

    bias: float
    weights: tuple[float, ...]
    logits: tuple[float, ...]
    confidences: tuple[float, ...]
    objects: int
    right: int

    def __call__(self, features: Features) -> float:
        """Return the probability that an object with these features is right."""
        logit = self.bias + sum(weight * value for weight, value in zip(self.weights, features, strict=True))
        return float(np.interp(logit, self.logits, self.confidences))

    def faults(self) -> Iterator[str]:
        """Say what no fit gives, each as a short sentence."""
        if len(self.weights) != len(Features._fields):
            yield f"it has {len(self.weights)} weights, not {len(Features._fields)}"
        if not all(map(math.isfinite, (self.bias, *self.weights, *self.logits))):
            yield "it has numbers that are not finite"
        if not self.logits or len(self.logits) != len(self.confidences):
            yield f"it has {len(self.logits)} logits and {len(self.confidences)} confidences"
        if any(one >= other for one, other in pairwise(self.logits)):
            yield "its logits do not ascend"
        bounded = (0.0, *self.confidences, 1.0)
        if not all(one <= other for one, other in pairwise(bounded)):
            yield "its confidences are not ascending numbers from 0 to 1"
        if not 0 <= self.right <= self.objects:
            yield f"{self.right} of {self.objects} objects are right"


class Confidences(NamedTuple):
    """The numbers of the objects of an answer, one each.

    Args:
        scores: raw scores, 0 to 1, which rank.
        confidences: the probability that each object is right; the raw score without a calibration of the task.
        calibrated: whether there is one.
        features: what they are made of.
    """

    scores: tuple[float, ...]
    confidences: tuple[float, ...]
    calibrated: bool
    features: tuple[Features, ...]


@dataclass(frozen=True)
class Judge:
    """Judges the objects of the answers of one model.

    Args:
        bins: (vocabulary,) the bin of each location token, -1 for others; without it only the chosen tokens count.
        calibrations: the calibration of each task that has one, by its name.
    """

    bins: IntArray | None = None
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)

    def judge(
        self, task: str, instances: Sequence[Instance], pieces: Sequence[str], generation: Generation
    ) -> Confidences:
        """Judge objects.

        Args:
            task: the name of the task.
            instances: objects in the joined ``pieces``.
            pieces: the text of each token of the generation, from the decoder start token on.
            generation: the sequence, with the alternatives of each token.
        """
        starts = list(accumulate(map(len, pieces), initial=0))[:-1]
        features = tuple(self._features(instance, starts, pieces, generation) for instance in instances)
        scores = tuple(one.score for one in features)
        calibration = self.calibrations.get(task)
        if calibration is None:
            return Confidences(scores, scores, False, features)  # noqa: FBT003
        return Confidences(scores, tuple(map(calibration, features)), True, features)  # noqa: FBT003

    def _features(
        self, instance: Instance, starts: Sequence[int], pieces: Sequence[str], generation: Generation
    ) -> Features:
        tokens = [bisect_right(starts, offset) - 1 for offset in instance.offsets]
        label = _label_tokens(pieces, tokens[0]) if instance.label else ()
        bins = self._bins_of([generation.token_ids[token] for token in tokens])
        extents = np.array([np.ptp(bins[axis::_PAIR]) for axis in range(min(_PAIR, len(bins)))])
        widths = np.resize(np.maximum(extents, _LEAST_WIDTH), len(bins))
        places = [self._certainty(generation, *one) for one in zip(tokens, bins, widths, strict=True)]
        named = math.exp(sum(generation.token_logprobs[token - 1] for token in label))
        return Features(*(float(np.log(np.fmax(np.minimum(part, 1.0), _LEAST)).mean()) for part in (named, places)))

    def _bins_of(self, token_ids: Sequence[int] | IntArray) -> IntArray:
        if self.bins is None:
            return np.full(len(token_ids), -1)
        return self.bins[token_ids]

    def _certainty(self, generation: Generation, token: int, chosen: int, width: int) -> float:
        """Return how far a coordinate is certain: the mean of 1 - distance / width, or 0, over what might have come.

        The distance is that from the chosen bin, and the width the extent of the object on this axis, so that this is
        about the overlap to expect if only this coordinate were drawn again.  What is no location counts as 0.
        """
        candidates = generation.alternatives.at(token)
        if candidates is None or chosen < 0:
            return math.exp(generation.token_logprobs[token - 1])
        bins = self._bins_of(candidates.token_ids)
        near = np.maximum(1 - np.abs(bins - chosen) / width, 0) * (bins >= 0)
        return float(near @ np.exp(candidates.logprobs))


def _label_tokens(pieces: Sequence[str], first: int) -> range:
    """Return the positions of the label of an object whose first location token is at ``first``.

    Other objects with the same label may stand between.
    """
    end = first
    while end > 1 and _is_tag(pieces[end - 1]):
        end -= 1
    start = end
    while start > 1 and not _is_tag(pieces[start - 1]):
        start -= 1
    return range(start, end)


def _is_tag(piece: str) -> bool:
    return piece.startswith(_LOCATION) or piece in _TAGS
