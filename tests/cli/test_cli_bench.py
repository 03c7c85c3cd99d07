"""``f2edge bench``: a table on stderr, JSON on stdout, and an HTML page."""

from __future__ import annotations

from pathlib import Path

import pytest

import f2edge.reporting as reporting_module
from f2edge.bench import MEANINGS, STAGES
from tests.support.command import f2edge


def test_json_and_table(tiny_bundle: Path, photo: Path) -> None:
    """JSON goes to stdout, indented unless --json is given; stderr shows a table with one line per stage."""
    arguments = (
        "bench",
        tiny_bundle,
        "--image",
        photo,
        "--new-tokens",
        5,
        "--num-beams",
        2,
        "--runs",
        2,
        "--starts",
        0,
    )
    outcome = f2edge(*arguments)
    assert outcome.code == 0
    assert outcome.stdout.count("\n") > 20
    summary = outcome.json
    assert (summary["runs"], summary["tokens"], summary["num_beams"], summary["task"]) == (2, 5, 2, "<CAPTION>")
    assert list(summary["stages_ms"]) == list(STAGES)
    assert list(summary["stages_ms"]["total"]) == ["p50", "p90", "p99", "mean", "stdev"]
    lines = outcome.stderr.splitlines()
    assert [line.split()[0] for line in lines[1 : len(STAGES) + 1]] == list(STAGES)
    assert "2 runs, 5 tokens" in lines[len(STAGES) + 1]
    assert "p90 takes 10 runs; p99 takes 100 runs" in lines[len(STAGES) + 1]
    assert all(line.startswith("warning: ") for line in lines[len(STAGES) + 2 :])


def test_compact_json(tiny_bundle: Path) -> None:
    """With --json, the JSON is a single line."""
    outcome = f2edge("bench", tiny_bundle, "--new-tokens", 2, "--runs", 1, "--threads", 1, "--starts", 0, "--json")
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
    monkeypatch.setattr(reporting_module, "page_of", lambda *_: (folder.rmdir(), folder.touch(), "page")[2])
    arguments = ("--new-tokens", 2, "--runs", 1, "--starts", 0, "--html", folder / "x.html", "--json")
    outcome = f2edge("bench", tiny_bundle, *arguments)
    assert outcome.code == 1
    assert outcome.json["runs"] == 1
    assert outcome.stderr.splitlines()[-1].startswith(f"f2edge: {folder / 'x.html'}: ")


def test_stages_are_explained() -> None:
    """The help explains each stage in one sentence."""
    help_text = " ".join(f2edge("bench", "-h").stdout.split())
    assert {"first_answer", "decode", "second_question", "total"} < set(MEANINGS)
    assert [stage for stage, meaning in MEANINGS.items() if f"{stage}: {meaning}" not in help_text] == []


def test_page(tiny_bundle: Path, tmp_path: Path) -> None:
    """The page is one complete file, which holds the command that repeats the measurement, without the folders."""
    page = tmp_path / "page.html"
    arguments = ("--new-tokens", 2, "--runs", 1, "--starts", 0, "--html", page)
    assert f2edge("bench", tiny_bundle, *arguments).code == 0
    text = page.read_text("utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert text.endswith("</html>\n")
    assert f"f2edge bench {tiny_bundle.name} --runs 1 --starts 0 --new-tokens 2<" in text
    assert str(tiny_bundle.parent) not in text


def test_starts(tiny_bundle: Path) -> None:
    """In the scenario single starts are measured: a process takes longer than its load and its first answer."""
    starts = f2edge("bench", tiny_bundle, "--new-tokens", 2, "--runs", 1, "--json").json["starts"]
    for start in (starts["cold"], starts["warm"]):
        assert start["processes"] == 1
        assert 0 < start["load_ms"] < start["load_ms"] + start["first_answer_ms"] < start["process_ms"]


def test_offline(tiny_bundle: Path) -> None:
    """Several workers answer batches; each question is about a picture of its own, which is encoded."""
    arguments = ("--scenario", "offline", "--workers", 1, "--batch", 3, "--runs", 7, "--new-tokens", 3, "--json")
    summary = f2edge("bench", tiny_bundle, *arguments).json
    assert (summary["scenario"], summary["workers"], summary["batch"], summary["runs"]) == ("offline", 1, 3, 7)
    of_a_millisecond = summary["answers_per_s"] / 1000  # the seconds are rounded to milliseconds
    assert summary["answers_per_s"] * summary["seconds"] == pytest.approx(7, abs=of_a_millisecond)
    assert len(set(summary["samples_ms"]["vision"])) == 7


def test_sustained(tiny_bundle: Path) -> None:
    """A long measurement goes on for its duration, and has the speed of each part of it."""
    arguments = ("--scenario", "sustained", "--duration", 0.3, "--new-tokens", 2, "--json")
    summary = f2edge("bench", tiny_bundle, *arguments).json
    assert summary["seconds"] >= 0.3
    assert sum(point["answers"] for point in summary["curve"]) == summary["runs"]
    moments = [point["seconds"] for point in summary["curve"]]
    assert moments == sorted(moments)


def test_against(tiny_bundle: Path, tmp_path: Path) -> None:
    """Two bundles answer as often; the ratios have intervals from 20 answers of each on."""
    arguments = ("--against", tiny_bundle, "--runs", 20, "--new-tokens", 2)
    page = tmp_path / "page.html"
    outcome = f2edge("bench", tiny_bundle, *arguments, "--html", page, "--json")
    summary = outcome.json
    assert summary["runs"] == summary["against"]["runs"] == 20
    total = summary["comparison"]["ratios"]["total"]
    assert total["low"] <= total["ratio"] <= total["high"]
    assert (summary["energy"], summary["peak_rss_mib"]) == (None, None)
    assert "of the time of" in outcome.stderr
    assert "Compared in turns" in page.read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--against", "x", "--scenario", "offline"), "--against compares"),
        (("--against", "x", "--starts", 1), "--starts: not with --against"),
        (("--workers", 2), "--workers: only with --scenario offline"),
        (("--scenario", "sustained", "--batch", 2), "--batch: only with --scenario offline"),
    ],
)
def test_options_that_do_not_go_together(arguments: tuple[object, ...], told: str) -> None:
    """They are wrong usage, before anything is opened."""
    outcome = f2edge("bench", "none", *arguments)
    assert outcome.code == 2
    assert told in outcome.stderr
