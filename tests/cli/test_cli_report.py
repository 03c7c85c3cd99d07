"""``f2edge report``: from files of JSON to a page, a table, or the format of Bencher."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.command import f2edge
from tests.support.measured import compared, evaluation, measurement

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def results(tmp_path: Path) -> list[Path]:
    """Write a measurement, a comparison and an evaluation."""
    paths = [tmp_path / f"{name}.json" for name in ("one", "two", "eval")]
    for path, value in zip(paths, (measurement(), compared(), evaluation()), strict=True):
        path.write_text(json.dumps(value))
    return paths


@pytest.mark.parametrize(
    ("name", "begin"), [("x.html", "<!DOCTYPE html>"), ("x.md", "# A title\n"), ("x.bencher.json", "{")]
)
def test_the_ending_decides(name: str, begin: str, results: list[Path], tmp_path: Path) -> None:
    """One line on stderr says what was written."""
    outcome = f2edge("report", *results, "-o", tmp_path / name, "--title", "A title")
    assert (outcome.code, outcome.stdout) == (0, "")
    assert outcome.stderr.startswith(f"{tmp_path / name}: 3 measurements, ")
    assert (tmp_path / name).read_text("utf-8").startswith(begin)


def test_wrong_usage(results: list[Path], tmp_path: Path, photo: Path) -> None:
    """Another ending, no file, and a picture for a table are wrong usage."""
    for arguments in ((*results, "-o", tmp_path / "x.pdf"), ("-o", tmp_path / "x.md"), (*results,)):
        assert f2edge("report", *arguments).code == 2
    assert f2edge("report", *results, "-o", tmp_path / "x.md", "--picture", photo).code == 2


def test_bad_input(results: list[Path], tmp_path: Path, photo: Path) -> None:
    """A file that is no result, a picture that is none, and a place inside a file are one line."""
    assert f"{photo} is no JSON" in f2edge("report", photo, "-o", tmp_path / "x.md").error
    assert "one.json" in f2edge("report", *results, "-o", tmp_path / "x.html", "--picture", results[0]).error
    assert "--output" in f2edge("report", *results, "-o", results[0] / "x.md").error


def test_a_picture(results: list[Path], tmp_path: Path, photo: Path) -> None:
    """A picture is a part of the page."""
    assert f2edge("report", *results, "-o", tmp_path / "x.html", "--picture", photo).code == 0
    text = (tmp_path / "x.html").read_text("utf-8")
    assert '<img src="data:image/jpeg;base64,' in text
    assert f"<figcaption>{photo.name}</figcaption>" in text
