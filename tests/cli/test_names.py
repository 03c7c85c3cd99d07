"""Whatever the names of files are, what is shown of them stays one printable line."""

from __future__ import annotations

import io
import json
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from f2edge.bundle.writing import MANIFEST
from f2edge.cli.failure import print_failure
from f2edge.cli.output import print_note, progress_bar, spinner
from f2edge.evaluation.asking import Run
from f2edge.evaluation.measures import Asked
from f2edge.evaluation.pictures import check_pictures
from f2edge.evaluation.report import Report
from f2edge.evaluation.samples import Dataset, Note, Question, Sample, summary
from f2edge.lines import one_line
from tests.support.command import f2edge
from tests.support.evaluations import answer, write_picture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = [
    *("a\nb.png", "a\r.png", "\x1b[2J.png", "\x1b]0;title\x07.png"),
    *("[/red].png", "\udcff.png", "\u202e.png", "\x85.png"),
]
names = pytest.mark.parametrize("name", NAMES, ids=ascii)


class Terminal(io.StringIO):
    """A stderr that claims to be a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def is_plain(line: str) -> bool:
    """Tell whether a line can be shown as it is."""
    return one_line(line) == line


@names
def test_notes_about_data_sets(name: str) -> None:
    """Names of pictures and files, of any kind of note."""
    (line,) = summary([Note("left out", "picture", name, f"{name} is not there")])
    assert is_plain(line)


@names
def test_the_reason_does_not_repeat_the_name(name: str, tmp_path: Path) -> None:
    """A picture that cannot be opened is named once, in a line that can be shown."""
    samples = tuple(Sample(one, tmp_path / one, (Question("<OD>"),)) for one in (name, "sound.png"))
    write_picture(tmp_path / "sound.png")
    (line,) = summary(check_pictures(Dataset("", "", samples)).notes)
    assert line == f"left out 1 picture: {one_line(name)} (is not there: no such file)"


@names
def test_notes_of_a_report(name: str) -> None:
    """Pictures that were skipped, questions that were refused, bundles and tasks."""
    question = Question("<CAPTION>", answers=("a",))
    answers = {(0, 0): Asked(0, (8, 8), question, answer("<CAPTION>", "a"))}
    run = Run(answers, pictures=1, skipped={name: name}, refused={name: name})
    notes = Report.of(Dataset("", "", ()), {name: run}, num_beams=1).notes()
    assert len(notes) >= 3
    assert all(map(is_plain, notes))


@names
@pytest.mark.parametrize("show", [print_note, print_failure])
def test_lines_on_stderr(show: Callable[[str], None], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, also where it is about an error of the system, which names a file as it is."""
    show(name)
    line = capsys.readouterr().err
    assert line.endswith("\n")
    assert is_plain(line[:-1])


@names
def test_progress_on_a_terminal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names beside a progress bar and a spinner are no markup, and hold no control characters of their own."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar(2) as bar:
        bar(name)
        bar.detail(name)
    with spinner(name):
        pass
    assert "\x1b]0" not in sys.stderr.getvalue()  # type: ignore[attr-defined]


def test_answers_about_several_pictures(tiny_bundle: Path, tmp_path: Path) -> None:
    """The name in front of each line is one, too."""
    pictures = [tmp_path / name for name in ("a\nb.png", "\x1b[2J.png")]
    for picture in pictures:
        write_picture(picture)
    outcome = f2edge("run", tiny_bundle, *pictures, "--task", "caption", "--max-new-tokens", 3)
    assert outcome.code == 0
    assert [line.split("\t")[0] for line in outcome.stdout.splitlines()] == [one_line(str(one)) for one in pictures]


@names
def test_a_manifest_with_odd_texts(name: str, tiny_bundle: Path, tmp_path: Path) -> None:
    """What ``inspect`` prints of a manifest of others moves no cursor and can be encoded."""
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["tools"]["f2edge"] = manifest["recipe"]["checkpoint"] = manifest["verified"]["device"] = name
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    outcome = f2edge("inspect", bundle)
    assert outcome.code == 0
    assert outcome.stdout.count(one_line(name)) == 3
    assert all(map(is_plain, outcome.stdout.split("\n")))


@names
def test_the_table_of_a_report(name: str) -> None:
    """Names of bundles and of the data set."""
    question = Question("<CAPTION>", answers=("a",))
    run = Run({(0, 0): Asked(0, (8, 8), question, answer("<CAPTION>", "a"))}, pictures=1)
    text = Report.of(Dataset(name, "", ()), {name: run}, num_beams=1).to_markdown()
    assert text.count(one_line(name)) == 2
    assert all(map(is_plain, text.split("\n")))
