"""What each actor of a cluster holds: one worker, which makes the shards that it is handed."""

from __future__ import annotations

import pickle
import platform
from typing import TYPE_CHECKING, Any

from f2edge import __version__
from f2edge.annotate.running import Shard
from f2edge.annotate.working import Worker
from f2edge.bundle.manifest import open_bundle, sha256
from f2edge.bundle.writing import MANIFEST
from f2edge.errors import AnnotationError, BundleError, F2EdgeError
from f2edge.paths import exists

if TYPE_CHECKING:
    from f2edge.annotate.pictures import Picture
    from f2edge.annotate.working import Job

MOST_TRIES = 5
"""How often a shard is begun in one run: a picture that ends its process would otherwise do so for ever."""


class Actor:
    """Makes shards, one a call, with one model that it loads for the first.

    A shard is written whole or not at all, and one that is there already is left as it is.  So Ray may hand it out
    again, after the process or the machine of another actor has died.

    Args:
        job: what is to be done; its paths lead to the same places on every node.
        version: the version of f2edge that the run was started with.
    """

    def __init__(self, job: Job, version: str) -> None:
        self._job = job
        self._version = version
        self._worker: Worker | None = None

    def __call__(self, batch: Any) -> dict[str, list[Any]]:
        """Make one shard.

        Args:
            batch: a ``pyarrow.Table`` of one row, as :func:`row` has them.

        Returns:
            One row: ``pictures``, how many were annotated, and ``failed``, an error that ends the run, pickled.
        """
        (given,) = batch.to_pylist()
        shard, there = Shard(given["number"], pickle.loads(given["pictures"])), given["there"]  # noqa: S301 - our own
        try:
            self._make(shard, None if there < 0 else shard.pictures[there])
        except (F2EdgeError, OSError, MemoryError) as error:
            return {"pictures": [0], "failed": [pickle.dumps(_told(error))]}
        return {"pictures": [len(shard.pictures)], "failed": [b""]}

    def _make(self, shard: Shard, there: Picture | None) -> None:
        directory = self._job.directory
        directory.check_mark()
        if exists(directory.path(shard.number)):  # its actor died before it could say so
            return
        tries = directory.begin(shard.number)
        if tries > MOST_TRIES:
            raise AnnotationError(f"shard {shard.number} has ended its process {MOST_TRIES} times; {_first(shard)}")
        if self._worker is None:
            self._worker = self._open()
        if there and not there.is_there:
            raise AnnotationError(f"{there.path} is not there: put the pictures where all nodes can read them")
        self._worker.annotate([shard])

    def _open(self) -> Worker:
        """Load the model.

        Raises:
            AnnotationError: this node has another version of f2edge.
            BundleError: it has another bundle, or none.
        """
        if __version__ != self._version:
            raise AnnotationError(f"f2edge is {__version__} here, and {self._version} where the run was started")
        bundle = open_bundle(self._job.bundle, check_hashes=False)
        if sha256(bundle.path / MANIFEST) != self._job.directory.description.bundle["sha256"]:
            raise BundleError(f"{bundle.path} is another bundle here: put the same one on all nodes")
        return Worker(self._job)


def row(shard: Shard) -> dict[str, Any]:
    """Return a shard as a row of a data set of Ray; its paths do not depend on a working directory."""
    pictures = [picture.absolute() for picture in shard.pictures]
    there = next((index for index, picture in enumerate(pictures) if picture.is_there), -1)
    return {"number": shard.number, "pictures": pickle.dumps(pictures), "there": there}


def _first(shard: Shard) -> str:
    return f"it begins with the picture {shard.pictures[0].id}: take out the one that does it, and begin anew"


def _told(error: Exception) -> Exception:
    """Return an error that says on which node it was, and that can be pickled."""
    node = f"on the node {platform.node()}"
    if isinstance(error, OSError):
        return OSError(error.errno, f"{error.strerror or error} ({node})", error.filename)
    if isinstance(error, MemoryError):
        return MemoryError(str(error))
    return AnnotationError(f"{error} ({node})")
