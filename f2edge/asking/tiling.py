"""How a large picture is cut into tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from f2edge.errors import InputError
from f2edge.lines import shown
from f2edge.numbers import is_number, is_whole

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels."""
DEFAULT_OVERLAP = 0.2
DEFAULT_NMS = 0.5

_LEAST_TILE = 16
_MOST_TILES = 2500


@dataclass(frozen=True)
class Tiling:
    """How a picture is cut, and how what is found in its parts is joined.

    Args:
        tile: side of a tile in pixels of the picture.
        overlap: the least share of a tile that it has in common with the next one, 0 to less than 1.
        nms: two objects with an IoU of at least this are the same one, of which the more certain stays; 0 to 1.
    """

    tile: int
    overlap: float = DEFAULT_OVERLAP
    nms: float = DEFAULT_NMS

    def __post_init__(self) -> None:
        """Refuse what cannot be cut or joined.

        Raises:
            InputError: a value is of the wrong kind or out of its range.
        """
        if not is_whole(self.tile) or self.tile < _LEAST_TILE:
            raise InputError(f"`tile` is {shown(self.tile)}; give a side of at least {_LEAST_TILE} pixels")
        if not is_number(self.overlap) or not 0 <= self.overlap < 1:
            raise InputError(f"`overlap` is {shown(self.overlap)}; give a share from 0 to less than 1")
        if not is_number(self.nms) or not 0 < self.nms <= 1:
            raise InputError(f"`nms` is {shown(self.nms)}; give an IoU above 0 and up to 1")

    def places(self, size: tuple[int, int]) -> list[Box]:
        """Return the whole picture of ``size`` (width, height), and its tiles.

        Raises:
            InputError: there would be too many.
        """
        return [(0, 0, *size), *self.cut(size)]

    def cut(self, size: tuple[int, int]) -> list[Box]:
        """Return the tiles (x1, y1, x2, y2) of a picture of `size` (width, height), from top left to bottom right.

        None if the whole picture is no larger than a tile.

        Raises:
            InputError: there would be too many.
        """
        columns, rows = (self._starts(length) for length in size)
        if len(columns) * len(rows) > _MOST_TILES:
            raise InputError(
                f"tiles of {self.tile} pixels are {len(columns) * len(rows):,} in a picture of {size[0]} x {size[1]};"
                f" the most is {_MOST_TILES:,}: make `tile` larger"
            )
        if len(columns) * len(rows) == 1:
            return []
        sides = [min(self.tile, length) for length in size]
        return [(x, y, x + sides[0], y + sides[1]) for y in rows for x in columns]

    def _starts(self, length: int) -> list[int]:
        """Return where tiles begin along one side: the first at 0, the last ends at the end, all at equal distances."""
        rest = length - self.tile
        if rest <= 0:
            return [0]
        gaps = math.ceil(rest / max(self.tile * (1 - self.overlap), 1))
        return [round(rest * k / gaps) for k in range(gaps + 1)]


def tiling_of(tile: int | None, overlap: float, nms: float) -> Tiling | None:
    """Return how a caller wants a picture cut; None without ``tile``."""
    return None if tile is None else Tiling(tile, overlap, nms)
