"""One frame of a video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from f2edge.arrays import ByteArray


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a video, which is a picture for :meth:`f2edge.Florence2.run`; NumPy takes it as its array.

    Args:
        array: (height, width, 3) uint8 in the order RGB, upright.
        index: its place among all frames of the source from 0, those that were dropped or left out included.
        seconds: the time since the first frame of the source; None for a picture of a folder.
        dropped: frames between the one before it and this one that are lost: the older ones of a live source that
            came while nobody asked, and those of damaged data.
    """

    array: ByteArray
    index: int
    seconds: float | None
    dropped: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.array.shape[1], self.array.shape[0]

    def __array__(self, dtype: DTypeLike | None = None, *, copy: bool | None = None) -> NDArray[Any]:
        if copy is False and dtype is not None and np.dtype(dtype) != self.array.dtype:
            raise ValueError(f"a frame cannot become an array of {np.dtype(dtype)} without a copy")
        return self.array.astype(dtype or self.array.dtype, copy=bool(copy))
