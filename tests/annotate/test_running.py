"""All pictures of a run: in order, with several threads, and only what is missing."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from f2edge.annotate.directory import open_directory
from f2edge.annotate.pictures import Picture
from f2edge.annotate.records import Record
from f2edge.annotate.running import annotate, missing_shards
from f2edge.annotate.settings import Settings
from f2edge.annotate.sources import Pictures
from f2edge.errors import DeviceError
from tests.support.annotations import SIZE, description

COUNT, SHARD = 11, 3
PICTURES = Pictures(tuple(Picture(f"{number:02d}", Path(f"{number:02d}")) for number in range(COUNT)))
ABOUT = description(COUNT, Settings(shard=SHARD))


def ids(place: Path) -> list[str]:
    """Return the ids of all pictures that were written, in their order."""
    with open_directory(place, ABOUT) as run:
        return [one.image for shard in range(4) if shard not in run.missing() for one in run.read(shard)]


def test_order_and_threads(tmp_path: Path) -> None:
    """Shards have their pictures in order, whichever thread is faster; each picture is told once."""
    names, told = set(), []

    def slow(picture: Picture) -> list[Record]:
        names.add(threading.current_thread().name)
        time.sleep(0.01 * (int(picture.id) % 3))
        return [Record(picture.id, *SIZE, "picture")]

    with open_directory(tmp_path, ABOUT) as run:
        annotate(run, missing_shards(run, PICTURES), slow, workers=3, done=lambda: told.append(1))
    assert ids(tmp_path) == [picture.id for picture in PICTURES.pictures]
    assert len(names) == 3
    assert len(told) == COUNT


def test_a_failure_keeps_whole_shards(tmp_path: Path) -> None:
    """After an error of the engine the shards before it are there, and a second run makes the others only."""
    asked: list[str] = []

    def failing(picture: Picture) -> list[Record]:
        asked.append(picture.id)
        if picture.id == "07" and len(asked) < COUNT:
            raise DeviceError("the engine failed")
        return [Record(picture.id, *SIZE, "picture")]

    with open_directory(tmp_path, ABOUT) as run:
        with pytest.raises(DeviceError):
            annotate(run, missing_shards(run, PICTURES), failing)
        assert run.missing() == [2, 3]
        before = len(asked)
        asked += [""] * COUNT
        annotate(run, missing_shards(run, PICTURES), failing)
    assert asked[before + COUNT :] == ["06", "07", "08", "09", "10"]
    assert ids(tmp_path) == [picture.id for picture in PICTURES.pictures]


def test_few_pictures_are_ahead(tmp_path: Path) -> None:
    """However many pictures there are, only some are begun while one is slow, so that memory stays flat."""
    begun: list[str] = []
    release = threading.Event()

    def waiting(picture: Picture) -> list[Record]:
        begun.append(picture.id)
        if picture.id == "00":
            release.wait(10)
        return [Record(picture.id, *SIZE, "picture")]

    many = Pictures(tuple(Picture(f"{number:02d}", Path("x")) for number in range(60)))
    with open_directory(tmp_path, description(60, Settings(shard=60))) as run:
        thread = threading.Thread(
            target=annotate, args=(run, missing_shards(run, many), waiting), kwargs={"workers": 2}
        )
        thread.start()
        time.sleep(0.2)
        ahead = len(begun)
        release.set()
        thread.join()
    assert ahead <= 8
    assert len(begun) == 60
