"""The page: valid, small, complete in itself, and what a browser makes of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import html5lib
import pytest
from PIL import Image

from f2edge.reporting.page import render
from f2edge.reporting.results import Results
from tests.support.chromium import Faults, chromium
from tests.support.measured import compared, evaluation, measurement, sustained

ASSETS = Path(__file__).resolve().parents[2] / "f2edge" / "reporting" / "assets"
NASTY = "\"><script>alert(1)</script>'{{ 7 * 7 }}"
DOUBTS = ["the machine ran on its battery"]


def page(*values: Any, **options: Any) -> str:
    """Return the page about these results."""
    return render(Results.of((f"{index}.json", value) for index, value in enumerate(values)), **options)


def parsed(text: str) -> Any:
    """Parse a page; the first thing that is not valid HTML raises an error."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)


def opened(file: Path, width: int = 1280) -> tuple[str, list[str]]:
    """Open a page in a browser; return its HTML after its scripts have run, and what the browser complained of."""
    with chromium() as browser:
        tab = browser.new_page(viewport={"width": width, "height": 900})
        faults = Faults(tab, "file://")
        tab.goto(file.as_uri())
        return tab.content(), [*faults.console, *faults.refused, *faults.outside]


def everything() -> list[dict[str, Any]]:
    """Return one result of each kind."""
    offline = measurement(scenario="offline", workers=2, batch=4, date="")
    return [measurement(), measurement(warnings=DOUBTS), sustained(), offline, compared(), evaluation()]


@pytest.mark.parametrize(
    "values", [everything(), [measurement(runs=1, energy=None, starts=None)]], ids=["all", "least"]
)
def test_pages_are_valid(values: list[dict[str, Any]]) -> None:
    """Every kind of result, and the least that one may hold, give valid HTML."""
    tree = parsed(page(*values))
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    links = [element.get("href")[1:] for element in tree.iter("a")]
    assert set(links) <= set(ids)


def test_the_script_of_the_charts_is_there_with_its_licence() -> None:
    """The vendored library keeps the notice that its licence asks for, in its folder and on the page."""
    assert "MIT License" in (ASSETS / "uPlot.LICENSE.txt").read_text("utf-8")
    text = page(measurement())
    assert "uPlot, MIT licence, copyright 2022 Leon Sorokin" in text
    assert "leeoniya/uPlot" in text


def test_a_page_of_fifty_runs_is_small(tmp_path: Path) -> None:
    """Fifty measurements of a thousand runs, ten of them with curves, and a picture fit into 400 kB."""
    Image.effect_noise((1600, 1200), 80).convert("RGB").save(tmp_path / "noise.png")
    runs = [measurement(runs=1000, bundle=f"florence-2-large-number-{index}") for index in range(40)]
    text = page(*runs, *[sustained()] * 10, picture=tmp_path / "noise.png")
    assert text.count("<details") == 50
    assert len(text.encode()) < 400_000


def test_nothing_is_loaded_from_elsewhere() -> None:
    """Every source is in the page, whose own policy forbids requests."""
    tree = parsed(page(*everything()))
    sources = [element.get(name, "") for element in tree.iter() for name in ("src", "srcset", "action", "data")]
    sources += [element.get("href") for element in tree.iter("link")]
    assert {source for source in sources if source} == {"data:,"}
    assert "default-src 'none'" in tree.find(".//meta[@http-equiv]").get("content")
    assert not re.search(r"@import|url\((?!data:)", page(measurement()))


def test_values_are_text() -> None:
    """Markup and templates in any value of a file stay text."""
    texts = {"bundle": NASTY, "task": NASTY, "scenario": NASTY, "command": NASTY, "warnings": [NASTY], "date": NASTY}
    device = {**measurement()["device"], "cpu": NASTY}
    result = measurement(**texts, device=device, versions={NASTY: NASTY, **measurement()["versions"]}, target=NASTY)
    result["device"][NASTY] = NASTY
    ratings = evaluation()
    ratings["bundles"][0]["metrics"][NASTY] = {NASTY: ratings["bundles"][0]["metrics"]["<OD>"]["map"]}
    tree = parsed(page(result, sustained() | {"bundle": NASTY}, ratings, title=NASTY))
    scripts = ["".join(element.itertext()) for element in tree.iter("script")]
    assert len(scripts) == 2
    assert not any("alert(1)</script>" in script for script in scripts)
    assert NASTY in "".join(tree.find(".//h1").itertext())
    assert not any(name.startswith("on") for element in tree.iter() for name in element.keys())  # noqa: SIM118


def test_rows_under_bad_conditions_are_grey_and_say_why() -> None:
    """Such a row has a class and a badge, and the best values are those of other rows."""
    fast = measurement(slower=0.1, warnings=DOUBTS)
    tree = parsed(page(measurement(), fast))
    (row,) = (row for row in tree.iter("tr") if row.get("class") == "doubtful")
    assert "bad conditions" in "".join(row.itertext())
    assert "".join(tree.find(".//ul[@class='bests']/li/strong").itertext()) == "106 ms"


def test_what_all_rows_share_is_told_once() -> None:
    """A column with one value, such as the question, becomes a sentence; one that varies stays a column."""
    other = measurement(device={**measurement()["device"], "cpu": "Cortex-A76"})
    text = page(measurement(), other)
    assert "In every row: int8; single; caption, 32 tokens, 3 beams." in text
    heads = ["".join(head.itertext()) for head in parsed(text).find(".//table/thead/tr")]
    assert heads[:3] == ["bundle", "device", "p50"]


def test_bars_do_not_overlap() -> None:
    """The stages of a bar follow each other: their widths add up to no more than the track."""
    tree = parsed(page(measurement()))
    widths = [float(part.get("style")[6:-1]) for part in tree.iter("div") if "part" in part.get("class", "").split()]
    assert len(widths) == 5
    assert sum(widths) == pytest.approx(100, abs=0.1)


def test_a_file_that_is_no_picture(tmp_path: Path) -> None:
    """The picture is opened as carefully as one that is asked about."""
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(Exception, match=r"x\.png"):
        page(measurement(), picture=tmp_path / "x.png")


@pytest.mark.parametrize("width", [500, 1280])
def test_a_browser_shows_it_without_complaint(width: int, tmp_path: Path) -> None:
    """Scripts run, charts are drawn, filters appear, and the browser complains of nothing."""
    file = tmp_path / "page.html"
    file.write_text(page(*everything()), "utf-8")
    content, complaints = opened(file, width)
    assert complaints == []
    assert content.count("<canvas") == 2
    assert re.search(r'<form id="filters" class="filters">', content)


@pytest.mark.parametrize(
    ("addition", "complaint"),
    [
        ("<script>nobody();</script>", "nobody is not defined"),
        ('<img src="http://127.0.0.1:9/x.png">', "Security Policy"),
    ],
)
def test_the_browser_would_complain(addition: str, complaint: str, tmp_path: Path) -> None:
    """An error in a script and a request to the outside are complaints, so that their absence means something."""
    file = tmp_path / "page.html"
    file.write_text(page(measurement()).replace("</main>", f"{addition}</main>"), "utf-8")
    _, complaints = opened(file)
    assert any(complaint in line for line in complaints)
