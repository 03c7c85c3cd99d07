"""The array types that cross f2edge's interfaces, and tuples that become arrays of a known width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike

FloatArray: TypeAlias = NDArray[np.float32]
IntArray: TypeAlias = NDArray[np.int64]
ByteArray: TypeAlias = NDArray[np.uint8]
Int8Array: TypeAlias = NDArray[np.int8]


def hull(*shapes: Sequence[float]) -> tuple[float, float, float, float]:
    """Return x1, y1, x2, y2 of the smallest upright box around shapes of corners x, y, x, y, ..., in any order."""
    xs = [x for shape in shapes for x in shape[::2]]
    ys = [y for shape in shapes for y in shape[1::2]]
    return min(xs), min(ys), max(xs), max(ys)


class Rows(tuple[tuple[float, ...], ...]):
    """A tuple of rows of equal width that NumPy reads as an array of shape ``(n, width)``, also for ``n = 0``.

    In every other respect it is the tuple: it compares equal to it, has its hash, and goes to JSON as a list.  A slice
    of it is a plain tuple.
    """

    __slots__ = ()
    width: ClassVar[int]
    """Numbers in a row."""

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Make the array; NumPy 1 passes no ``copy``, NumPy 2 does.

        Raises:
            ValueError: a row has another width, or NumPy was told not to copy.
        """
        if copy is False:
            raise ValueError("a tuple has no array to share; let NumPy copy it")
        return np.array(tuple(self), np.float64 if dtype is None else dtype).reshape(len(self), self.width)


class Boxes(Rows):
    """Boxes of x1, y1, x2, y2 each; as an array of shape ``(n, 4)``."""

    __slots__ = ()
    width = 4


class Quads(Rows):
    """Quads of four corners x, y, x, y, ... each; as an array of shape ``(n, 8)``."""

    __slots__ = ()
    width = 8
