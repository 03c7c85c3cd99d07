"""The directory of a run: what the run is of, and its shards, each of which is there whole or not at all."""

from __future__ import annotations

import os
import platform
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from filelock import FileLock, Timeout

from f2edge.annotate.description import RUN, Description
from f2edge.annotate.files import PARTIAL, remove_partial, write_durably
from f2edge.annotate.tables import read_about, read_records, to_parquet
from f2edge.errors import AnnotationError
from f2edge.json_text import json_text
from f2edge.paths import exists, is_dir, is_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from f2edge.annotate.records import Record

SHARDS, STATISTICS, SHEET = "shards", "statistics.json", "sheet.html"
_LOCK = ".lock"
_MARK = ".shared-"
_PICTURES, _OF = "f2edge.pictures", "f2edge.run"


class Directory:
    """The directory of a run that this process works on.

    Args:
        place: the directory.
        description: what the run is of.
        mark: the name of a file in it without which nothing is written, see :func:`shared`.
    """

    def __init__(self, place: Path, description: Description, mark: str = "") -> None:
        self.place = place
        self.description = description
        self.mark = mark

    def path(self, shard: int) -> Path:
        """Return the place of a shard."""
        return self.place / SHARDS / f"{shard:05d}.parquet"

    def paths(self) -> list[Path]:
        """Return the places of all shards, in their order."""
        return [self.path(shard) for shard in range(self.description.shards)]

    def missing(self) -> list[int]:
        """Return the shards that are not there."""
        return [shard for shard in range(self.description.shards) if not exists(self.path(shard))]

    def begin(self, shard: int) -> int:
        """Note that a process begins a shard; return how many have begun it since the run was called, this one too.

        Raises:
            OSError: it cannot be noted.
        """
        note = self.place / SHARDS / f".{self.path(shard).name}{PARTIAL}tries"
        with note.open("a", encoding="utf-8") as file:
            file.write(f"{platform.node()} {os.getpid()}\n")
        return len(note.read_text("utf-8").splitlines())

    def write(self, shard: int, records: Sequence[Record]) -> None:
        """Write a shard whole.

        Raises:
            AnnotationError: this is not the directory that the run was begun in, or the run has ended.
            OSError: it cannot be written; it is then not there.
        """
        self.check_mark()
        pictures = sum(record.kind == "picture" for record in records)
        about = {_PICTURES: str(pictures), _OF: self.description.sources["sha256"]}
        write_durably(self.path(shard), to_parquet(records, about))

    def read(self, shard: int) -> Iterator[Record]:
        """Yield the records of a shard.

        Raises:
            AnnotationError: it is damaged.
        """
        return read_records(self.path(shard))

    def check_mark(self) -> None:
        """Refuse a directory without the mark.

        Raises:
            AnnotationError: this is not the directory that the run was begun in, or the run has ended.
        """
        if self.mark and not is_file(self.place / self.mark):
            raise AnnotationError(
                f"{self.place} is not the directory that the run was begun in, or the run has ended: "
                "choose a place for the output that all nodes share"
            )

    def check(self) -> None:
        """Refuse shards that are not those of this run.

        Raises:
            AnnotationError: a shard is damaged, or has not the pictures that it should have.
        """
        size, count = int(self.description.settings["shard"]), int(self.description.sources["count"])
        for shard, path in enumerate(self.paths()):
            if not exists(path):
                continue
            about, wanted = read_about(path), min(size, count - shard * size)
            if (about.get(_PICTURES), about.get(_OF)) != (str(wanted), self.description.sources["sha256"]):
                raise AnnotationError(f"{path} is not of this run: delete it and run the same command again")


@contextmanager
def shared(directory: Directory) -> Iterator[Directory]:
    """Give the directory of a run as other processes see it, until the end of the block.

    A file with a name of its own is there meanwhile.  A process that does not find it is on a machine that does not
    share the directory, or is left of a run that was killed: it writes nothing.

    Raises:
        OSError: it cannot be written.
    """
    place = directory.place.absolute()
    for left in place.glob(f"{_MARK}*"):
        left.unlink(missing_ok=True)
    mark = place / f"{_MARK}{uuid4().hex}"
    write_durably(mark, b"")
    try:
        yield Directory(place, directory.description, mark.name)
    finally:
        mark.unlink(missing_ok=True)
        remove_partial(place / SHARDS)  # what killed processes have left


@contextmanager
def open_directory(place: Path, description: Description) -> Iterator[Directory]:
    """Begin a run, or go on with the one that is there; no other process can until the end of the block.

    Raises:
        AnnotationError: the directory is another run's or something else, another process works on it, or a shard in it
            is damaged.
        OSError: it cannot be written.
    """
    _refuse_strangers(place)
    (place / SHARDS).mkdir(parents=True, exist_ok=True)
    lock = FileLock(place / _LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise AnnotationError(
            f"another process annotates into {place}; wait for it, or choose another place"
        ) from error
    try:
        _begin(place, description)
        for part in (place, place / SHARDS):  # no other run is in this directory
            remove_partial(part)
        directory = Directory(place, description)
        directory.check()
        yield directory
    finally:
        lock.release()


def open_finished(place: Path) -> Directory:
    """Open the directory of a run that is finished, to read it.

    Raises:
        AnnotationError: it is none, is damaged, or lacks shards.
    """
    directory = Directory(place, Description.read(place))
    if missing := directory.missing():
        raise AnnotationError(f"{place} lacks {len(missing)} of {directory.description.shards} shards: finish it first")
    directory.check()
    return directory


def _refuse_strangers(place: Path) -> None:
    if exists(place) and not is_dir(place):
        raise AnnotationError(f"{place} is a file; choose another place for the output")
    ours = (_LOCK, SHARDS)  # and files that a run has begun to write when it was killed
    names = [path.name for path in place.iterdir()] if is_dir(place) else []
    strange = [name for name in names if name not in ours and PARTIAL not in name]
    if strange and not is_file(place / RUN):
        raise AnnotationError(f"{place} is not empty and holds no run of f2edge annotate; choose another place")


def _begin(place: Path, description: Description) -> None:
    """Write what the run is of, or compare it with what is there; a run without a shard may become another one."""
    differences = description.differences(Description.read(place)) if is_file(place / RUN) else [f"it has no {RUN}"]
    if differences and any((place / SHARDS).glob("*.parquet")):
        told = "; ".join(differences)
        raise AnnotationError(f"{place} is of another run: {told}: choose another place for the output, or delete it")
    if differences:
        write_durably(place / RUN, (json_text(description.to_json(), indent=2) + "\n").encode())
