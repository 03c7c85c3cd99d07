"""``f2edge bench``: a table on stderr, JSON on stdout, and an HTML page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import f2edge.cli.bench as command_module
from f2edge.bench import MEANINGS, STAGES, LatencyReport, bench
from f2edge.cli.bench_html import render
from tests.support.command import f2edge


@pytest.fixture(scope="module")
def report(tiny_bundle: Path) -> LatencyReport:
    """Return the report of two measured runs on the tiny bundle."""
    return bench(tiny_bundle, new_tokens=4, num_beams=1, runs=2, warmup=0)


def test_json_and_table(tiny_bundle: Path, photo: Path) -> None:
    """JSON goes to stdout, indented unless --json is given; stderr shows a table with one line per stage."""
    arguments = ("bench", tiny_bundle, "--image", photo, "--new-tokens", 5, "--num-beams", 2, "--runs", 2)
    outcome = f2edge(*arguments)
    assert outcome.code == 0
    assert outcome.stdout.count("\n") > 20
    summary = outcome.json
    assert (summary["runs"], summary["tokens"], summary["num_beams"], summary["task"]) == (2, 5, 2, "<CAPTION>")
    assert list(summary["stages_ms"]) == list(STAGES)
    assert list(summary["stages_ms"]["total"]) == ["p50", "p90", "p99", "mean", "stdev"]
    assert [line.split()[0] for line in outcome.stderr.splitlines()[1:-1]] == list(STAGES)


def test_compact_json(tiny_bundle: Path) -> None:
    """With --json, the JSON is a single line."""
    outcome = f2edge("bench", tiny_bundle, "--new-tokens", 2, "--runs", 1, "--threads", 1, "--json")
    assert outcome.stdout.count("\n") == 1
    assert (outcome.json["runs"], outcome.json["threads"]) == (1, 1)


def test_bad_input(tiny_bundle: Path, tmp_path: Path) -> None:
    """A task that needs an input, a missing picture and a page inside a file are refused in one line."""
    assert "needs one; choose caption" in f2edge("bench", tiny_bundle, "--task", "region_to_ocr").error
    assert "is not there" in f2edge("bench", tiny_bundle, "--image", tmp_path / "no.png", "--runs", 1).error
    (tmp_path / "file").touch()
    assert "--html" in f2edge("bench", tmp_path / "none", "--html", tmp_path / "file" / "x.html").error


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a directory that takes no files, whoever asks")
def test_page_in_a_directory_that_takes_no_files(tmp_path: Path) -> None:
    """The error comes before the bundle is opened (here it is missing) and names the path that the user gave."""
    error = f2edge("bench", tmp_path / "none", "--html", "/proc/self/x.html").error
    assert error.startswith("f2edge: /proc/self: ")


def test_page_that_cannot_be_written_after_the_runs(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the page cannot be written after the runs, stdout still has the measured numbers."""
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.setattr(command_module, "render", lambda *_: (folder.rmdir(), folder.touch(), "page")[2])
    outcome = f2edge("bench", tiny_bundle, "--new-tokens", 2, "--runs", 1, "--html", folder / "x.html", "--json")
    assert outcome.code == 1
    assert outcome.json["runs"] == 1
    assert outcome.stderr.splitlines()[-1].startswith(f"f2edge: {folder / 'x.html'}: ")


def test_stages_are_explained(report: LatencyReport) -> None:
    """The help and the page explain each stage in one sentence."""
    help_text, page = " ".join(f2edge("bench", "-h").stdout.split()), Tags(render(report, "tiny")).text
    assert {"first_answer", "decode", "second_question", "total"} < set(MEANINGS)
    for stage, meaning in MEANINGS.items():
        assert f"{stage}: {meaning}" in help_text
        assert meaning in page


def test_page(tiny_bundle: Path, tmp_path: Path) -> None:
    """The page is one complete file that loads nothing from elsewhere."""
    page = tmp_path / "page.html"
    assert f2edge("bench", tiny_bundle, "--new-tokens", 2, "--runs", 1, "--html", page).code == 0
    text = page.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert text.endswith("</html>\n")
    assert not re.search(r"(src|href)=|<script|@import|url\(", text)


class Tags(HTMLParser):
    """A parser that collects the start tags and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, _attrs: object) -> None:
        """Record one start tag."""
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        """Append text."""
        self.text += data


def test_chart(report: LatencyReport) -> None:
    """The chart has one bar per stage, except for stages measured once; the tables have one row per stage."""
    tags = Tags(render(report, "tiny")).tags
    assert tags.count("rect") == len(STAGES) - 2
    assert tags.count("table") == 2
    assert all(stage in render(report, "tiny") for stage in STAGES)


def test_page_is_escaped(report: LatencyReport) -> None:
    """Markup in a bundle's name is escaped, so it cannot bring a script into the page."""
    parsed = Tags(render(report, "<script>alert(1)</script>"))
    assert "script" not in parsed.tags
    assert "<script>alert(1)</script>: latency" in parsed.text
