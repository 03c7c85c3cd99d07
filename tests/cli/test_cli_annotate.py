"""``f2edge annotate``: a run from pictures to statistics, going on with it, and what is refused."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from f2edge.cli.annotate import FORMATS
from f2edge.cli.output import rate_bar
from tests.support import english, schemas
from tests.support.annotations import write_photos
from tests.support.command import Outcome, f2edge, f2edge_process

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TASKS = ("--tasks", "caption,od,caption_to_phrase_grounding")
ALL_OF_IT = ("--min-confidence", 0, "--min-objects", 0)
OPEN = (*TASKS, *ALL_OF_IT, "--num-beams", 1, "--max-new-tokens", 16, "--shard", 2)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write five pictures; one of them is broken."""
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, 5)
    (folder / "02.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    return folder


@pytest.fixture(scope="module")
def finished(tiny_bundle: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """Annotate the pictures; return the output and how the command ended."""
    output = tmp_path_factory.mktemp("run") / "out"
    return output, f2edge("annotate", tiny_bundle, photos, "-o", output, *OPEN, "--json")


def rows(output: Path) -> list[dict[str, object]]:
    """Return all records of a run."""
    return [row for path in sorted((output / "shards").glob("*")) for row in pq.read_table(path).to_pylist()]


def test_a_run(finished: tuple[Path, Outcome]) -> None:
    """Every picture has one record of its own; the statistics on stdout and in the file are those of the records."""
    output, outcome = finished
    assert outcome.code == 0
    made = rows(output)
    assert [row["image"] for row in made if row["kind"] == "picture"] == [f"{number:02d}.png" for number in range(5)]
    assert outcome.json == json.loads((output / "statistics.json").read_text())
    schemas.check("annotate", outcome.json)
    counts = {(one["task"], one["source"]): one for one in outcome.json["annotations"]}
    kept = [row for row in made if row["kept"] and row["kind"] != "picture"]
    assert sum(one["annotations"] for one in counts.values()) == len(kept)
    assert sum(sum(one["dropped"].values()) for one in counts.values()) == len(made) - len(kept) - 5
    captions = [row for row in kept if row["task"] == "caption"]
    assert counts["caption", ""]["images"] == len({row["image"] for row in captions})
    assert counts["caption", ""]["tokens"] == sum(row["tokens"] for row in captions)  # type: ignore[misc]
    assert counts["caption", ""]["lengths"] == _counted(row["tokens"] for row in captions)
    objects = Counter(row["image"] for row in kept if row["task"] == "od")
    assert counts["od", ""]["counts"] == _counted(objects.values())
    assert outcome.json["complexity"] == "grounding"


def _counted(numbers: Iterable[object]) -> dict[str, int]:
    return {str(number): count for number, count in Counter(numbers).items()}


def test_unreadable_pictures_are_named(finished: tuple[Path, Outcome]) -> None:
    """They are counted, and named with the reason: in the records, the statistics, and on stderr."""
    output, outcome = finished
    assert outcome.json["unreadable"] == 1
    assert outcome.json["unreadable_pictures"][0]["image"] == "02.png"
    assert "1 of 5 pictures cannot be read: 02.png (" in outcome.stderr
    assert [row["image"] for row in rows(output) if row["reason"] == "unreadable"] == ["02.png"]


def test_a_second_call_makes_nothing_new(finished: tuple[Path, Outcome], tiny_bundle: Path, photos: Path) -> None:
    """A finished run is only counted again, with any number of workers, and prints a table."""
    output, _ = finished
    before = {path: path.stat().st_mtime_ns for path in (output / "shards").iterdir()}
    again = f2edge("annotate", tiny_bundle, photos, "-o", output, *OPEN, "--workers", 2)
    assert again.code == 0
    assert {path: path.stat().st_mtime_ns for path in (output / "shards").iterdir()} == before
    assert "caption_to_phrase_grounding" in again.stdout
    assert "5 pictures; objects and relations of texts counted by: grounding" in again.stdout


def test_a_missing_shard_is_made_again(
    finished: tuple[Path, Outcome], tiny_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    """A run goes on where it was stopped, with the same records, also with several workers."""
    output, outcome = finished
    broken = shutil.copytree(output, tmp_path / "out")
    (broken / "shards" / "00001.parquet").unlink()
    again = f2edge("annotate", tiny_bundle, photos, "-o", broken, *OPEN, "--json")
    assert again.json == outcome.json
    assert rows(broken) == rows(output)


def test_another_run_is_refused(
    finished: tuple[Path, Outcome], tiny_bundle: Path, tiny_onnx_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    """Another bundle, other settings and other pictures are refused in one line, in words of the command line."""
    output, _ = finished
    changed = f2edge("annotate", tiny_onnx_bundle, photos, "-o", output, *OPEN).error
    assert "is of another run: bundle tiny.cpu (" in changed
    assert "tiny.onnx (" in changed
    error = f2edge("annotate", tiny_bundle, photos, "-o", output, *OPEN, "--nms", 0.5).error
    assert "--nms 0.7 there, 0.5 now: choose another place" in error
    write_photos(tmp_path / "more", 6)
    assert "pictures 5 there, 6 now" in f2edge("annotate", tiny_bundle, tmp_path / "more", "-o", output, *OPEN).error


def test_a_parser_counts_the_phrases(tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    """Texts that are not grounded are counted by a pipeline of spaCy; the run cannot go on without it."""
    pytest.importorskip("spacy", reason="install the extra spacy to run this test")
    english.train(tmp_path / "drawn")
    run = ("annotate", tiny_bundle, photos, "-o", tmp_path / "out", "--tasks", "caption", "--max-new-tokens", 16)
    outcome = f2edge(*run, "--parser", tmp_path / "drawn", "--json")
    assert " en_drawn 0.0.0 (" in outcome.json["complexity"]
    texts = [row for row in rows(tmp_path / "out") if row["kind"] == "text"]
    assert len(texts) == 4
    assert [row["image"] for row in texts if row["objects"] is None or row["relations"] is None] == []
    assert "--parser spacy " in f2edge(*run).error
    assert "--parser '' is no pipeline" in f2edge(*run, "--parser", "").error
    assert "--parser 'en_absent' is no pipeline" in f2edge(*run, "--parser", "en_absent").error


def test_a_second_pass(finished: tuple[Path, Outcome], tiny_onnx_bundle: Path, photos: Path, tmp_path: Path) -> None:
    """Another bundle refines a run: records tell their pass and bundle, and each picture has one record of its own."""
    output, _ = finished
    arguments = ("annotate", tiny_onnx_bundle, photos, *TASKS, "--max-new-tokens", 16, *ALL_OF_IT)
    second = tmp_path / "second"
    outcome = f2edge(*arguments, "--refine", output, "-o", second, "--num-beams", 2, "--json")
    assert outcome.code == 0, outcome.stderr
    assert outcome.json["pass"] == 2
    made = rows(second)
    assert [row["image"] for row in made if row["kind"] == "picture"] == [f"{number:02d}.png" for number in range(5)]
    assert {row["pass"] for row in made} == {1, 2}
    assert len({row["bundle"] for row in made}) == 2
    first = {(row["image"], row["task"]): row for row in rows(output) if row["kind"] == "text"}
    for row in made:
        if row["kind"] == "text" and row["kept"] and row["pass"] == 2 and first[row["image"], row["task"]]["kept"]:
            assert row["confidence"] > first[row["image"], row["task"]]["confidence"]  # type: ignore[operator]
    assert f"--refine {output} there, nothing now" in f2edge(*arguments, "-o", second, "--num-beams", 2).error


def test_refused_refinements(finished: tuple[Path, Outcome], tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    """A run about other pictures, an unfinished one, its own output, and another size of shards."""
    output, _ = finished
    write_photos(tmp_path / "other", 5)
    arguments = ("annotate", tiny_bundle, photos, "-o", tmp_path / "out", *TASKS)
    other = ("annotate", tiny_bundle, tmp_path / "other", "-o", tmp_path / "out")
    assert "--refine" in f2edge(*other, "--refine", output).error
    assert "is about other pictures" in f2edge(*other, "--refine", output).error
    unfinished = shutil.copytree(output, tmp_path / "unfinished")
    (unfinished / "shards" / "00000.parquet").unlink()
    assert "lacks 1 of 3 shards: finish it first" in f2edge(*arguments, "--refine", unfinished).error
    assert "leave --shard out" in f2edge(*arguments, "--refine", output, "--shard", 3).error
    assert "is of another run" in f2edge("annotate", tiny_bundle, photos, "-o", output, *OPEN, "--refine", output).error
    assert not (tmp_path / "out").exists()


def test_formats_and_sheet(finished: tuple[Path, Outcome], tiny_bundle: Path, photos: Path) -> None:
    """A finished run is exported by the same command; the contact sheet is there unless it has no pictures."""
    output, _ = finished
    names = [word for name in FORMATS for word in ("--format", name)]
    (output / "sheet.html").unlink()
    assert f2edge("annotate", tiny_bundle, photos, "-o", output, *OPEN, *names, "--sheet", 0).code == 0
    assert {path.name for path in output.iterdir() if not path.name.startswith(".")} == {
        *("run.json", "shards", "statistics.json", *FORMATS[1:])
    }
    assert f2edge("annotate", tiny_bundle, photos, "-o", output, *OPEN, "--sheet", 2).code == 0
    assert (output / "sheet.html").stat().st_size > 1000


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal shows how many are done, those of an earlier run included, the rate and the time left."""
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    with rate_bar("pictures", 10, 4) as done:
        done()
        done()
    shown = terminal.getvalue()
    assert "6/10" in shown
    assert "a second" in shown
    assert ":" in shown.rpartition("a second")[2]


def test_bad_input_is_one_line(tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    """No pictures, no bundle, a wrong task, another output: one line each, and nothing is written."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "a.tex").write_text("x")
    out = ("-o", tmp_path / "out")
    for arguments, reason in (
        ((tiny_bundle, tmp_path / "empty", *out), "holds no pictures"),
        ((tiny_bundle, tmp_path / "gone", *out), "is not there"),
        ((photos, photos, *out), "is not a bundle"),
        ((tiny_bundle, photos, *out, "--tasks", "region_to_category"), "does not annotate"),
        ((tiny_bundle, photos, *out, "--tasks", ""), "--tasks names no task"),
        ((tiny_bundle, photos, "-o", tmp_path / "thesis"), "holds no run"),
        ((tiny_bundle, photos, *out, "--blacklist", tmp_path / "no.txt"), "No such file"),
        ((tiny_bundle, photos, "-o", photos / "00.png"), "is a file"),
    ):
        assert reason in f2edge("annotate", *arguments).error, arguments
    assert not (tmp_path / "out").exists()
    assert f2edge("annotate", tiny_bundle, photos, *out, "--nms", 0).code == 2


def test_a_missing_package_is_named(tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    """Without pyarrow the command names the extra to install."""
    blocked = "import sys; sys.modules['pyarrow'] = None"
    outcome = f2edge_process("annotate", tiny_bundle, photos, "-o", tmp_path / "out", first=blocked)
    assert outcome.error == "f2edge: pyarrow is not installed; run: pip install 'f2edge[annotate]'"
