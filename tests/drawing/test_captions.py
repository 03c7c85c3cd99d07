"""Captions: words keep their place in a few lines, none covers another, and letters have a font."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest  # noqa: TC002 - hypothesis reads the types
from hypothesis import example, given
from hypothesis import strategies as st

from f2edge.drawing import captions
from f2edge.drawing.captions import Writer, fitted

FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"


def marked(label: str) -> Any:
    """Return an object with this label."""
    return SimpleNamespace(label=label, percent="90%", colour=(230, 25, 75), outlines=[[(0, 0), (9, 9)]])


def written(label: str, room: float) -> tuple[str, ...]:
    """Return the lines of a caption in letters of width 1."""
    return fitted(label, "90%", len, room)


def test_a_caption_takes_as_few_lines_as_it_needs() -> None:
    """Words are broken into lines where the room ends; a label that needs more than three lines is shortened."""
    assert written("a red car", 20) == ("a red car 90%",)
    assert written("a red car", 9) == ("a red car", "90%")
    assert written("a long wooden bench under two old trees", 13) == ("a long wooden", "bench under", "two old… 90%")
    assert written("hippopotamus", 6) == ("hippo…", "90%")
    assert written("a", 2) == ()


@given(label=st.text(max_size=300), room=st.integers(0, 60))
@example(label="", room=3)
def test_every_caption_fits(label: str, room: int) -> None:
    """Whatever the label, there are at most three lines that fit, and the percent stays if it fits."""
    lines = written(label, room)
    assert len(lines) <= 3
    assert all(len(line) <= room for line in lines)
    assert not lines or lines[-1].endswith("90%")
    assert lines or room < 3


def test_captions_of_a_crowd_do_not_cover_each_other() -> None:
    """Of 40 objects in one place, those that come first get a caption; the others go without."""
    writer = Writer((300, 200), "cat")
    objects = np.array([[140.0, 90.0, 160.0, 110.0]] * 40)
    for index in range(40):
        writer.add(marked(f"cat {index}"), index, objects)
    places = [caption.place for caption in writer.captions]
    assert 10 < len(places) < 40
    assert writer.captions[0].lines == ("cat 0 90%",)
    assert [caption.lines[0] for caption in writer.captions][:5] == [f"cat {index} 90%" for index in range(5)]
    for index, (x1, y1, x2, y2) in enumerate(places):
        assert 0 <= x1 < x2 <= 300
        assert 0 <= y1 < y2 <= 200
        others = places[:index]
        assert all(x2 <= a1 or a2 <= x1 or y2 <= b1 or b2 <= y1 for a1, b1, a2, b2 in others)


def test_a_font_that_has_the_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A font without some letter gives way to one that has all; if there is none, the first stays."""
    lacking, having = str(FONTS / "cmtt10.ttf"), str(FONTS / "DejaVuSans.ttf")
    monkeypatch.setattr(captions, "_FONTS", ("not there.ttf", lacking, having))
    for letters, expected in (("cat", lacking), ("cat ☃", having), ("北", lacking)):
        assert captions._font(20, letters).path == expected  # type: ignore[union-attr]
