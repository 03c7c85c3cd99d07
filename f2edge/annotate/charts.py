"""Histograms of a run for its page: how long its texts are, and how many regions its pictures have."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from f2edge.annotate.statistics import Row, Statistics

WIDTH, HEIGHT = 260.0, 120.0
"""The size of a chart in the units of its SVG; the page scales it."""
BASE = HEIGHT - 16
"""Where the bars stand; below it are the numbers."""
_LEFT, _RIGHT, _TOP = 2.0, 2.0, 14.0
_MOST = 26
"""Bars of a chart; where there are more numbers, a bar stands for several."""
_STEPS = (1, 2, 5)
_GAP = 0.15
"""The share of the width of a bar that is left free."""


@dataclass(frozen=True)
class Bar:
    """One bar: its place in the SVG, the first and last number that it stands for, and how many there are of them."""

    x: float
    y: float
    width: float
    height: float
    first: int
    last: int
    count: int

    @property
    def numbers(self) -> str:
        """The numbers that it stands for."""
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"


@dataclass(frozen=True)
class Chart:
    """A histogram.

    Args:
        title: what is counted.
        highest: the count of the highest bar.
        bars: the bars from left to right; those of a count of 0 have no height.
    """

    title: str
    highest: int
    bars: tuple[Bar, ...]

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """The numbers of the first, the middle and the last bar, at their centres."""
        shown = sorted({0, len(self.bars) // 2, len(self.bars) - 1}) if self.bars else []
        return [(self.bars[index].x + self.bars[index].width / 2, str(self.bars[index].first)) for index in shown]


def charts(statistics: Statistics) -> list[Chart]:
    """Return the charts of a run: tokens of each kind of text, regions and phrases in a picture for each task."""
    return list(_charts(statistics))


def _charts(statistics: Statistics) -> Iterator[Chart]:
    readable = statistics.pictures - statistics.unreadable
    for row in statistics.rows:
        if row.kind == "text":
            yield histogram(f"{row.task}: tokens of a text", row.lengths)
        else:
            without = {0: readable - row.images} if readable > row.images else {}
            yield histogram(f"{_name(row)}: {row.kind}s in a picture", {**without, **row.counts})


def _name(row: Row) -> str:
    return f"{row.task} of {row.source}" if row.source else row.task


def histogram(title: str, counts: Mapping[int, int]) -> Chart:
    """Return the chart of how often each number comes; without any it has no bars.

    Args:
        title: what is counted.
        counts: how often each number comes.
    """
    if not counts:
        return Chart(title, 0, ())
    lowest, step = min(counts), _step(max(counts) - min(counts) + 1)
    first = lowest - lowest % step
    heights = [0] * ((max(counts) - first) // step + 1)
    for number, amount in counts.items():
        heights[(number - first) // step] += amount
    bars = (_bar(index, heights, first + index * step, step) for index in range(len(heights)))
    return Chart(title, max(heights), tuple(bars))


def _step(spread: int) -> int:
    """Return how many numbers a bar stands for: 1, 2 or 5 times a power of ten."""
    steps = (step * int(10**power) for power in count() for step in _STEPS)
    return next(step for step in steps if spread <= step * (_MOST - 1))  # one bar more where the first begins before


def _bar(index: int, heights: list[int], first: int, step: int) -> Bar:
    slot = (WIDTH - _LEFT - _RIGHT) / max(len(heights), _MOST // 2)
    height = (BASE - _TOP) * heights[index] / max(heights)
    x = _LEFT + slot * (index + _GAP / 2)
    return Bar(x, BASE - height, slot * (1 - _GAP), height, first, first + step - 1, heights[index])
