"""How a result is displayed: one line as text; the picture and a table as HTML."""

from __future__ import annotations

import base64
import io
import pickle
import sys
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from f2edge.drawing.display import Thumbnail, in_notebook
from f2edge.result import Result
from f2edge.tasks.answer_types import Answers

BOX = (10.0, 20.0, 110.0, 220.0)
NASTY = "<script>alert('x')</script> & \"quoted\""


def located(**fields: Any) -> Result:
    """Return a result of a task that locates things."""
    return Result("<OD>", "<s></s>", (), (), 0.0, Answers({"<OD>": {"bboxes": [], "labels": []}}), **fields)


def worded(text: str, **fields: Any) -> Result:
    """Return a result of a task that answers in words."""
    return Result("<CAPTION>", f"</s><s>{text}</s>", (), (), 0.0, Answers({"<CAPTION>": text}), **fields)


class Page(HTMLParser):
    """A parser that collects tags and texts of some HTML and checks that every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.pictures: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record a start tag, and the source of a picture."""
        self.tags.append(tag)
        if tag == "img":
            self.pictures.append(dict(attrs)["src"] or "")
        else:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the last tag that is open."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Record the text of a table cell."""
        if self._open[-1] in ("td", "th"):
            self.cells.append(data)


def page(result: Result) -> Page:
    """Parse the HTML that a notebook displays for a result."""
    html = result._repr_html_()
    assert "<script" not in html
    return Page(html)


def picture(page: Page) -> Image.Image:
    """Open the only picture in a page."""
    (source,) = page.pictures
    head, _, data = source.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (worded("A cat."), "Result('<CAPTION>', 'A cat.')"),
        (worded("A\ncat."), r"Result('<CAPTION>', 'A\ncat.')"),
        (worded("A cat.", truncated=True), "Result('<CAPTION>', 'A cat.', truncated)"),
        (worded("c" * 99), f"Result('<CAPTION>', '{'c' * 57}...')"),
        (located(), "Result('<OD>', nothing located)"),
        (located(boxes=(BOX,), labels=("cat",)), "Result('<OD>', 1 box: cat)"),
        (located(boxes=(BOX,) * 3, labels=("cat", "dog", "cat")), "Result('<OD>', 3 boxes: cat, dog)"),
        (located(boxes=(BOX,), labels=("",)), "Result('<OD>', 1 box)"),
        (located(boxes=(BOX,), labels=("a\nb",)), "Result('<OD>', 1 box: a b)"),
        (located(boxes=(BOX,) * 9, labels=tuple("abcdefghi")), "Result('<OD>', 9 boxes: a, b, c, d, e, ...)"),
        (located(quads=(BOX * 2,) * 2, labels=("STOP", "GO")), "Result('<OD>', 2 quads: STOP, GO)"),
        (located(polygons=((BOX, BOX),), labels=("",)), "Result('<OD>', 1 mask)"),
    ],
)
def test_one_line(result: Result, line: str) -> None:
    """``repr`` shows the task, then the text or a summary of what was located."""
    assert repr(result) == line


def test_one_line_is_short() -> None:
    """``repr`` is a short single line, however long the answer is."""
    labels = tuple(f"{letter}\n{letter * 500}" for letter in "abcdefg")
    for result in (worded("word " * 1000), located(boxes=(BOX,) * 7, labels=labels)):
        assert len(repr(result)) < 250
        assert "\n" not in repr(result)


def test_a_table() -> None:
    """The table has one row for each located thing; without a thumbnail there is no picture."""
    shown = page(located(boxes=(BOX, BOX), labels=("cat", ""), confidences=(0.5, 0.123)))
    assert "img" not in shown.tags
    assert shown.cells == [
        *("label", "box (pixels)", "confidence"),
        *("cat", "10, 20, 110, 220", "50.0%"),
        *("10, 20, 110, 220", "12.3%"),
    ]


def test_tables_of_other_shapes() -> None:
    """Quads show eight coordinates and masks the number of polygons; confidences may be absent."""
    assert "10, 20, 110, 220, 10, 20, 110, 220" in page(located(quads=(BOX * 2,), labels=("STOP",))).cells
    assert "2 polygons, 6 points" in page(located(polygons=((BOX, BOX * 2),), labels=("a",))).cells


def test_a_long_table_is_cut() -> None:
    """After fifty rows, the table says how many more there are."""
    shown = page(located(boxes=(BOX,) * 60, labels=("cat",) * 60))
    assert shown.tags.count("tr") == 52
    assert shown.cells[-1] == "and 10 more"


def test_texts_are_escaped() -> None:
    """Labels, captions and free tasks are escaped, because they come from a model or a user."""
    shown = page(located(boxes=(BOX,), labels=(NASTY,), thumbnail=Thumbnail.of(Image.new("RGB", (300, 300)))))
    assert shown.cells[3] == NASTY
    for result in (worded(NASTY), replace(worded("a"), task=NASTY)):
        assert set(page(result).tags) == {"div", "p", "code"}


def test_text_answers_are_shown_whole() -> None:
    """The HTML shows a text answer in full; only ``repr`` shortens it."""
    assert f"<p><code>&lt;CAPTION&gt;</code> {'c' * 99}</p>" in worded("c" * 99)._repr_html_()


def test_the_picture_has_the_answer_on_it() -> None:
    """Boxes are drawn at their place in the original picture, scaled to the thumbnail."""
    plain = Image.new("RGB", (2000, 1000), (128, 128, 128))
    result = located(boxes=((1000.0, 500.0, 1900.0, 900.0),), labels=("cat",), thumbnail=Thumbnail.of(plain))
    shown = picture(page(result))
    assert shown.size == (640, 320)
    changed = (abs(np.asarray(shown).astype(int) - 128) > 40).any(-1)
    rows, columns = np.nonzero(changed)
    assert abs(columns.min() - 320) <= 3
    assert abs(columns.max() - 608) <= 3
    assert abs(rows.max() - 288) <= 3
    assert picture(page(worded("A cat.", thumbnail=Thumbnail.of(plain)))).size == (640, 320)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((100, 60), (100, 60)), ((640, 640), (640, 640)), ((1000, 4000), (160, 640)), ((5000, 1), (640, 1))],
)
def test_thumbnails_are_small(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """A thumbnail has at most 640 pixels per side, and at least one."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    thumbnail = Thumbnail.of(Image.fromarray(noise))
    assert thumbnail.open().size == expected
    assert thumbnail.size == size
    assert len(thumbnail.jpeg) < 400_000  # noise is the worst case


def test_a_thumbnail_is_no_part_of_the_answer() -> None:
    """A thumbnail is kept by copies and pickles, but does not affect equality, JSON or ``repr``."""
    plain = located(boxes=(BOX,), labels=("cat",))
    shown = replace(plain, thumbnail=Thumbnail.of(Image.new("RGB", (50, 50))))
    assert shown == plain
    assert repr(shown) == repr(plain)
    assert shown.to_json() == plain.to_json()
    assert replace(shown, steps=3).thumbnail == shown.thumbnail
    assert pickle.loads(pickle.dumps(shown)).thumbnail == shown.thumbnail  # noqa: S301 - our own bytes


def test_only_a_notebooks_kernel_is_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an imported IPython nor IPython in a terminal counts as a notebook."""
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not in_notebook()
    for shell, expected in ((None, False), (SimpleNamespace(), False), (SimpleNamespace(kernel=object()), True)):
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda shell=shell: shell))  # type: ignore[arg-type]
        assert in_notebook() is expected
