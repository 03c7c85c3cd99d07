"""The directory of a run: shards are there whole or not at all, and another run is refused."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

from f2edge.annotate import files as module
from f2edge.annotate.description import RUN
from f2edge.annotate.directory import open_directory, open_finished
from f2edge.annotate.records import Record
from f2edge.annotate.settings import Settings
from f2edge.annotate.tables import SCHEMA, read_records, read_table
from f2edge.errors import AnnotationError
from tests.support.annotations import SIZE, description, phrase, region, text

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.annotate.description import Description

CAPTION = text("a star")
RECORDS = (
    Record("a.png", *SIZE, "picture"),
    replace(CAPTION, bundle="b", settings="s", passed=3, relations=0),
    replace(region("STOP", (1, 2, 3, 4.5)), quad=(1, 2, 3, 2, 3, 4.5, 1, 4.5), calibrated=True),
    replace(phrase("star", (0, 0, 1, 1), CAPTION), polygons=((0, 0, 1, 0, 1, 1), (2, 2, 3, 2, 3, 3)), seen=False),
    Record("b.png", 0, 0, "picture").dropped("unreadable", "b.png is not there"),
)


def write(place: Path, about: Description | None = None) -> None:
    """Write a run of two shards with two pictures each."""
    with open_directory(place, about or description()) as run:
        for shard in run.missing():
            run.write(shard, RECORDS)


def test_records_come_back(tmp_path: Path) -> None:
    """What is written is read again: confidences as float32, everything else exactly."""
    write(tmp_path / "out")
    shard = tmp_path / "out" / "shards" / "00001.parquet"
    single = [replace(one, confidence=None, score=None) for one in RECORDS]
    read = list(read_records(shard))
    assert [replace(one, confidence=None, score=None) for one in read] == single
    assert [one.certainty for one in read] == pytest.approx([one.certainty for one in RECORDS], rel=1e-7)
    assert read_table(shard).schema.equals(SCHEMA)
    assert read_table(shard).column_names[-1] == "pass"


def test_a_finished_shard_is_not_made_again(tmp_path: Path) -> None:
    """A shard that is there is done, and all others are missing."""
    with open_directory(tmp_path, description(pictures=5)) as run:
        assert run.missing() == [0, 1, 2]
        run.write(1, RECORDS)
        assert run.missing() == [0, 2]
    with pytest.raises(AnnotationError, match="lacks 2 of 3 shards"):
        open_finished(tmp_path)


def test_what_a_killed_run_has_begun_is_removed(tmp_path: Path) -> None:
    """Files that are half written do not count, at the very start either."""
    (tmp_path / f".{RUN}.partial-1").write_text("{")
    write(tmp_path)
    half = tmp_path / "shards" / ".00001.parquet.partial-1"
    half.write_bytes(b"PAR1")
    with open_directory(tmp_path, description()) as run:
        assert not run.missing()
    assert not half.exists()
    assert not list(tmp_path.glob(".*partial*"))


def test_another_run_is_refused(tmp_path: Path) -> None:
    """One line names everything that differs; what is there stays."""
    write(tmp_path)
    other = replace(description(settings=Settings(shard=2, nms=0.5, blacklist=("x",)), bundle="c" * 64))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    with pytest.raises(AnnotationError) as caught, open_directory(tmp_path, other):
        pass
    line = str(caught.value)
    assert "bundle tiny (bbbbbbbb) there, tiny (cccccccc) now" in line
    assert "`nms` 0.7 there, 0.5 now" in line
    assert "`blacklist` nothing there, x now" in line
    assert "shard" not in line
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()} == before
    for changed, told in (
        ({"count": 5, "sha256": "s" * 64}, "pictures 4 there, 5 now"),
        ({"count": 4, "sha256": "t"}, "names or sizes of the 4 pictures differ"),
    ):
        with (
            pytest.raises(AnnotationError, match=told),
            open_directory(tmp_path, replace(description(), sources=changed)),
        ):
            pass


def test_a_run_without_a_shard_may_become_another(tmp_path: Path) -> None:
    """Settings that the bundle turned out not to take do not spoil the directory."""
    for settings in (Settings(shard=2, num_beams=99), Settings(shard=2)):
        with open_directory(tmp_path, description(settings=settings)) as run:
            assert run.missing() == [0, 1]
    assert json.loads((tmp_path / RUN).read_text())["settings"]["num_beams"] is None


def test_shards_without_a_description_are_refused(tmp_path: Path) -> None:
    """Nobody can tell what they are of."""
    write(tmp_path)
    (tmp_path / RUN).unlink()
    with pytest.raises(AnnotationError, match="is of another run"), open_directory(tmp_path, description()):
        pass


def test_a_newer_version_goes_on(tmp_path: Path) -> None:
    """The version of f2edge is noted, and does not count."""
    write(tmp_path)
    with open_directory(tmp_path, replace(description(), version="9.9")) as run:
        assert not run.missing()
    assert json.loads((tmp_path / RUN).read_text())["f2edge"] != "9.9"


def test_strange_places_are_refused(tmp_path: Path) -> None:
    """A file, a directory of something else, and a damaged description: one line each, nothing is changed."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    (tmp_path / "damaged").mkdir()
    for place, reason in (("file", "is a file"), ("other", "holds no run")):
        with pytest.raises(AnnotationError, match=reason), open_directory(tmp_path / place, description()):
            pass
    for content, reason in (
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"format": 7}', "is of format 7"),
        ('{"format": 1}', "is damaged"),
    ):
        (tmp_path / "damaged" / RUN).write_text(content)
        with pytest.raises(AnnotationError, match=reason), open_directory(tmp_path / "damaged", description()):
            pass
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.tex"]
    with pytest.raises(AnnotationError, match=f"holds no run of f2edge annotate: it has no {RUN}"):
        open_finished(tmp_path / "other")


@pytest.mark.parametrize("damage", ["half", "empty", "foreign", "short"])
def test_a_damaged_shard_is_named(damage: str, tmp_path: Path) -> None:
    """A shard that is half there, or of another run, is refused before anything is asked; the others stay."""
    write(tmp_path)
    shards = tmp_path / "shards"
    path, content = shards / "00001.parquet", (shards / "00001.parquet").read_bytes()
    if damage == "foreign":
        write(tmp_path / "foreign", replace(description(), sources={"count": 4, "sha256": "t" * 64}))
        content = (tmp_path / "foreign" / "shards" / "00001.parquet").read_bytes()
    if damage == "short":
        with open_directory(tmp_path / "short", description(pictures=3)) as run:
            run.write(1, RECORDS[:4])
        content = (tmp_path / "short" / "shards" / "00001.parquet").read_bytes()
    path.write_bytes({"half": content[: len(content) // 2], "empty": b""}.get(damage, content))
    told = "is damaged" if damage in {"half", "empty"} else "is not of this run"
    with (
        pytest.raises(AnnotationError, match=f"00001.parquet {told}.*delete it"),
        open_directory(tmp_path, description()),
    ):
        pass
    path.unlink()
    with open_directory(tmp_path, description()) as run:
        assert run.missing() == [1]


def test_two_runs_at_once(tmp_path: Path) -> None:
    """A second process is refused while the first one works."""
    write(tmp_path)
    with FileLock(tmp_path / ".lock"), pytest.raises(AnnotationError, match="another process annotates into"):
        write(tmp_path)


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the shard, which is not there; those before it are, and the run goes on with space."""

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with open_directory(tmp_path, description()) as run:
        run.write(0, RECORDS)
        with monkeypatch.context() as patch:
            patch.setattr(module.os, "fsync", full)
            with pytest.raises(OSError, match=r"00001\.parquet") as caught:
                run.write(1, RECORDS)
        assert caught.value.errno == errno.ENOSPC
        assert run.missing() == [1]
    assert len(list((tmp_path / "shards").iterdir())) == 1
    write(tmp_path)
    assert not open_finished(tmp_path).missing()


def test_the_tasks_of_all_passes(tmp_path: Path) -> None:
    """A second pass with few tasks still has those of the first one."""
    first = description(settings=Settings(tasks=("<CAPTION>", "<OD>"), shard=2))
    write(tmp_path, first)
    second = description(settings=Settings(tasks=("<OCR_WITH_REGION>", "<OD>"), shard=2)).after(tmp_path, first)
    assert second.tasks == ("caption", "od", "ocr_with_region")
    assert (second.passed, second.after(tmp_path, second).tasks) == (2, second.tasks)
