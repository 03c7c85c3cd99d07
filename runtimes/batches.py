"""The cross-attention of several questions in one array: shorter ones are filled up, and a mask hides the filling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from f2edge.arrays import FloatArray, IntArray

MASK = "cross_mask"
"""The decoder's input that hides what fills up shorter questions, in bundles that take batches."""

HIDDEN = float(np.finfo(np.float16).min)
"""Added to the scores of hidden states: the lowest number of fp16, for which a softmax gives 0."""


def mask(lengths: Sequence[int] | IntArray) -> FloatArray:
    """Return the mask (questions, 1, 1, states) float32 of questions with these numbers of states."""
    hidden = np.arange(max(lengths)) >= np.asarray(lengths)[:, None]
    term: FloatArray = np.where(hidden, np.float32(HIDDEN), np.float32(0))
    return term[:, None, None]


def lengths_of(mask: FloatArray) -> IntArray:
    """Return the numbers of states that a mask shows, (questions,); the inverse of :func:`mask`."""
    lengths: IntArray = (mask == 0).sum(axis=(1, 2, 3))
    return lengths


def put_together(parts: Sequence[FloatArray], axis: int, out: FloatArray) -> None:
    """Write keys or values of one question each (1, ...) into an array (questions, ...), and zeros behind the shorter.

    The zeros matter: what a mask hides is multiplied by 0, which leaves a NaN what it is.
    """
    for target, part in zip(out, parts, strict=True):
        before, behind = np.split(target, [part.shape[axis]], axis - 1)
        before[...] = part[0]
        behind[...] = 0


def without_filling(array: FloatArray, questions: IntArray, axis: int, length: int) -> FloatArray:
    """Copy the keys or values of some questions, cut to the longest of them."""
    shorter = array[(slice(None),) * axis + (slice(length),)]
    kept: FloatArray = shorter[questions]
    return kept
