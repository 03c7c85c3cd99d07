"""Histograms: every number is in one bar, and bars are few."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f2edge.annotate.charts import BASE, WIDTH, charts, histogram
from f2edge.annotate.statistics import Row, Statistics

MOST_BARS = 26


@given(st.dictionaries(st.integers(0, 5000), st.integers(1, 9), min_size=1, max_size=60))
def test_every_number_is_in_one_bar(counts: dict[int, int]) -> None:
    """The counts of a bar are those of its numbers, bars join without a gap or overlap, and all are in the picture."""
    chart = histogram("x", counts)
    assert 1 <= len(chart.bars) <= MOST_BARS
    for bar in chart.bars:
        assert bar.count == sum(amount for number, amount in counts.items() if bar.first <= number <= bar.last)
        assert 0 <= bar.x < bar.x + bar.width <= WIDTH
        assert bar.y + bar.height == pytest.approx(BASE)
    assert [bar.first for bar in chart.bars[1:]] == [bar.last + 1 for bar in chart.bars[:-1]]
    assert sum(bar.count for bar in chart.bars) == sum(counts.values())
    assert chart.highest == max(bar.count for bar in chart.bars)


def test_few_numbers_have_a_bar_each() -> None:
    """Up to 25 neighbouring numbers are not joined; the ticks name the first, the middle and the last one."""
    chart = histogram("x", {3: 2, 27: 1})
    assert [bar.numbers for bar in chart.bars] == [str(number) for number in range(3, 28)]
    assert [text for _, text in chart.ticks] == ["3", "15", "27"]
    assert histogram("x", {3: 2, 28: 1}).bars[0].numbers == "2 to 3"


def test_nothing_has_no_bars() -> None:
    """A task that kept nothing has a chart without bars."""
    assert histogram("x", {}).ticks == []


def test_pictures_without_a_region_are_counted() -> None:
    """Pictures that can be read and have no region stand above 0; those that cannot are not there."""
    row = Row("region", "od", images=3)
    row.counts.update({1: 2, 4: 1})
    (chart,) = charts(Statistics(10, 2, (), (row,), "none", 1))
    assert [(bar.numbers, bar.count) for bar in chart.bars] == [("0", 5), ("1", 2), ("2", 0), ("3", 0), ("4", 1)]
