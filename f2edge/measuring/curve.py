"""The curve of a long measurement: how fast answers were as time went by."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from f2edge.measuring.scenarios import CurvePoint
from f2edge.measuring.watch import known

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from f2edge.measuring.scenarios import Taken
    from f2edge.measuring.watch import Reading

_POINTS = 60


def curve(taken: Taken, readings: Sequence[Reading]) -> tuple[CurvePoint, ...]:
    """Divide a measurement into at most 60 parts of equal time; parts in which no answer ended are left out.

    Args:
        taken: the answers, one after the other.
        readings: what was read of the machine in between.
    """
    return tuple(_points(taken, readings))


def _points(taken: Taken, readings: Sequence[Reading]) -> Iterator[CurvePoint]:
    ended, total = np.array(taken.ended), np.array(taken.stages["total"])
    borders = np.linspace(0, ended[-1], min(_POINTS, len(ended)) + 1)
    for low, high in pairwise(borders):
        inside = (ended > low) & (ended <= high)
        if inside.any():
            during = [reading for reading in readings if low < reading.seconds <= high]
            yield CurvePoint(
                round(float(low + high) / 2, 3),
                int(inside.sum()),
                round(float(np.median(total[inside])), 4),
                _mean(during, "clock_mhz"),
                _mean(during, "hottest_c"),
                _mean(during, "watts"),
            )


def _mean(readings: Sequence[Reading], name: str) -> float | None:
    values = known(readings, name)
    return round(float(np.mean(values)), 2) if values else None
