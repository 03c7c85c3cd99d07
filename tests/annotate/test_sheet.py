"""The contact sheet: a page by itself that shows what was kept and dropped, and why."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import html5lib
import pytest

from f2edge.annotate.directory import open_directory
from f2edge.annotate.records import REASONS, Record
from f2edge.annotate.settings import Settings
from f2edge.annotate.sheet import render
from f2edge.annotate.sources import find_pictures
from f2edge.annotate.statistics import count
from tests.support.annotations import SIZE, description, phrase, region, text, write_photos

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 5


@pytest.fixture
def page(tmp_path: Path) -> str:
    """Return the sheet of three pictures of a run."""
    write_photos(tmp_path / "photos", COUNT)
    pictures = find_pictures(str(tmp_path / "photos"))
    caption = text("a <b>star</b>")
    with open_directory(tmp_path / "out", description(COUNT, Settings(shard=2))) as run:
        for shard in run.missing():
            made = []
            for picture in pictures.shard(shard, 2):
                fields = [
                    caption,
                    region("star", (1, 2, 30, 40)),
                    region("ring", (5, 5, 9, 9), 0.1).dropped("confidence"),
                ]
                fields += [phrase("star", (1, 2, 30, 40), caption, seen=False)]
                rows = [Record("", *SIZE, "picture"), *fields]
                made += [Record(**{**vars(one), "image": picture.id}) for one in rows]
            run.write(shard, made)
        return render(run, pictures, 3, count(run.paths(), run.description))


def test_the_page_is_sound(page: str) -> None:
    """It is HTML without a fault, has no script, and asks nothing of any server."""
    html5lib.HTMLParser(strict=True).parse(page)
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_it_shows_what_was_kept_and_dropped(page: str) -> None:
    """Each picture is there once, with both kinds of shapes, the reason, and words of the model as text."""
    assert page.count("data:image/jpeg;base64,") == 3
    assert page.count('class="kept-shape"') == 6
    assert page.count('class="dropped-shape"') == 3
    assert REASONS["confidence"] in page
    assert "a &lt;b&gt;star&lt;/b&gt;" in page
    assert page.count("not seen by od") == 3


def test_charts_are_of_all_pictures(page: str) -> None:
    """There is a chart of the texts, the regions and the phrases, of all pictures and not of the sample alone."""
    charts = [figure for figure in page.split("<figure>") if 'class="chart"' in figure]
    titles = ["caption: tokens of a text", "od: regions in a picture"]
    titles += ["caption_to_phrase_grounding of caption: phrases in a picture"]
    assert [title for chart in charts for title in titles if f"<figcaption>{title}<" in chart] == titles
    assert [re.findall("<title>(.*?)</title>", chart) for chart in charts] == [["2: 5"], ["1: 5"], ["1: 5"]]


def test_an_unreadable_picture_has_its_reason(tmp_path: Path) -> None:
    """A picture that cannot be read, or is gone since, is told."""
    write_photos(tmp_path / "photos", 2)
    pictures = find_pictures(str(tmp_path / "photos"))
    with open_directory(tmp_path / "out", description(2, Settings(shard=2))) as run:
        lost = Record("00.png", 0, 0, "picture").dropped("unreadable", "it seems damaged")
        run.write(0, [lost, Record("01.png", *SIZE, "picture")])
        (tmp_path / "photos" / "01.png").unlink()
        page = render(run, pictures, 10, count(run.paths(), run.description))
    html5lib.HTMLParser(strict=True).parse(page)
    assert "it seems damaged" in page
    assert "01.png is not there" in page
