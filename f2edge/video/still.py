"""Tell whether a frame shows what an earlier one showed, so that its answer holds.

Noise changes every pixel of a still camera, and a small object that moves changes few of them much.  A mean over the
whole picture hides the object in the noise; the largest difference of single pixels is that of the noise.  So the
differences are averaged over blocks of a few pixels, where noise goes out and an object does not, and the block that
differs most decides.  Frames are compared with the one that was asked about, not with the one before: a movement that
is too slow to be seen from frame to frame adds up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from f2edge.arrays import ByteArray, FloatArray

BLOCK = 4
"""Pixels of a side of a block, in the picture as the model takes it."""


def largest_difference(first: ByteArray, second: ByteArray) -> float:
    """Return by how many levels of 255 the block differs most, in any channel, in which two pictures differ most.

    Args:
        first: pixels (H, W, 3); rows and columns beyond the last whole block count as a block of their own.
        second: pixels of the same shape.
    """
    difference = first.astype(np.float32) - second
    return float(np.abs(_block_means(_block_means(difference, 0), 1)).max())


def _block_means(values: FloatArray, axis: int) -> FloatArray:
    starts = np.arange(0, values.shape[axis], BLOCK)
    shape = [1] * values.ndim
    shape[axis] = -1
    lengths = np.diff([*starts, values.shape[axis]]).reshape(shape)
    return (np.add.reduceat(values, starts, axis) / lengths).astype(np.float32)
