"""What an actor of a cluster refuses: it must see the output, the bundle and the pictures of the run."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from f2edge import __version__
from f2edge.annotate.cluster.actor import MOST_TRIES, Actor, row
from f2edge.annotate.directory import Directory, open_directory, shared
from f2edge.annotate.running import Shard
from f2edge.annotate.settings import Settings, parse_tasks
from f2edge.annotate.sources import find_pictures
from f2edge.annotate.working import Job
from f2edge.bundle.manifest import sha256
from f2edge.bundle.writing import MANIFEST
from f2edge.errors import AnnotationError
from tests.support.annotations import description, write_photos

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETTINGS = Settings(parse_tasks(["caption"]), shard=2, num_beams=1, max_new_tokens=4)


@pytest.fixture
def shard(tmp_path: Path) -> Shard:
    """Return two pictures."""
    write_photos(tmp_path / "photos", 2)
    return Shard(0, find_pictures(str(tmp_path / "photos")).pictures)


@pytest.fixture
def job(tiny_bundle: Path, tmp_path: Path) -> Iterator[Job]:
    """Begin a run that other processes may write into."""
    about = description(2, SETTINGS, sha256(tiny_bundle / MANIFEST))
    with open_directory(tmp_path / "out", about) as directory, shared(directory) as seen:
        yield Job(tiny_bundle, SETTINGS, seen, threads=1)


def made(job: Job, shard: Shard, version: str = __version__) -> tuple[int, str]:
    """Have an actor make a shard, as Ray does; return how many pictures it has annotated, and the error."""
    actor = pickle.loads(pickle.dumps(Actor(job, version)))  # noqa: S301
    (pictures,), (failed,) = actor(pa.Table.from_pylist([row(shard)])).values()
    return pictures, str(pickle.loads(failed)) if failed else ""  # noqa: S301


def test_a_shard_is_made_once(job: Job, shard: Shard) -> None:
    """A shard that is there, since its actor died right after it was written, is left as it is."""
    assert made(job, shard) == (2, "")
    path = job.directory.path(0)
    before = path.stat().st_mtime_ns
    assert [one.image for one in job.directory.read(0) if one.kind == "picture"] == ["00.png", "01.png"]
    assert made(job, shard) == (2, "")
    assert path.stat().st_mtime_ns == before


def test_another_output(job: Job, shard: Shard, tmp_path: Path) -> None:
    """A node that does not share the output writes nothing, and says so."""
    (tmp_path / "own").mkdir()
    elsewhere = Directory(tmp_path / "own", job.directory.description, job.directory.mark)
    done, error = made(replace(job, directory=elsewhere), shard)
    assert done == 0
    assert "choose a place for the output that all nodes share (on the node " in error
    assert list((tmp_path / "own").iterdir()) == []


def test_a_run_that_has_ended(job: Job, shard: Shard) -> None:
    """What is left of a run that was killed can write nothing into the directory of the next one."""
    with shared(Directory(job.directory.place, job.directory.description)):
        assert "or the run has ended" in made(job, shard)[1]
        with pytest.raises(AnnotationError, match="or the run has ended"):
            job.directory.write(0, [])
    assert not job.directory.path(0).exists()


def test_other_pictures_and_bundles(job: Job, shard: Shard, tmp_path: Path) -> None:
    """Pictures that only the first machine sees are not taken for unreadable, and another bundle is not used."""
    given = row(shard)
    shutil.rmtree(tmp_path / "photos")
    actor = Actor(job, __version__)
    (failed,) = actor(pa.Table.from_pylist([given]))["failed"]
    assert "put the pictures where all nodes can read them" in str(pickle.loads(failed))  # noqa: S301
    bundle = shutil.copytree(job.bundle, tmp_path / "bundle")
    (bundle / MANIFEST).write_text((bundle / MANIFEST).read_text("utf-8") + "\n")
    assert "put the same one on all nodes" in made(replace(job, bundle=bundle), shard)[1]
    assert "is not a bundle" in made(replace(job, bundle=tmp_path), shard)[1]
    assert "f2edge is" in made(job, shard, "0.0.1")[1]


def test_pictures_that_nobody_has(job: Job, shard: Shard, tmp_path: Path) -> None:
    """Pictures that the first machine does not see either cannot be read, which ends no run."""
    shutil.rmtree(tmp_path / "photos")
    assert made(job, shard) == (2, "")
    assert [one.reason for one in job.directory.read(0)] == ["unreadable"] * 2


def test_a_shard_that_ends_its_process(job: Job, shard: Shard) -> None:
    """A shard is not begun for ever."""
    for _ in range(MOST_TRIES):
        job.directory.begin(0)
    done, error = made(job, shard)
    assert done == 0
    assert f"shard 0 has ended its process {MOST_TRIES} times; it begins with the picture 00.png" in error
