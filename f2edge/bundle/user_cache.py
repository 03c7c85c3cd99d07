"""Where this user's cached files are: what can be made again, and is never trusted blindly."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from f2edge.bundle.writing import alive, whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_log = logging.getLogger(__name__)

_PATIENCE = 600.0
"""Seconds to wait for another process that fills the same directory: an NPU's compiler takes minutes."""


def user_cache() -> Path:
    """``F2EDGE_CACHE``, or f2edge's folder in the place that the system has for caches."""
    if chosen := os.environ.get("F2EDGE_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "f2edge" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "f2edge"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "f2edge"


def cache_key(parts: object) -> str:
    """A file's name for everything that what is cached depends on; what is no JSON value counts by its text."""
    return digest(parts, default=str)[:32]


def digest(value: object, default: Callable[[object], str] | None = None) -> str:
    """SHA-256 of a JSON value; the order of an object's members does not matter.

    Args:
        value: the value.
        default: what to take for what JSON does not know; without it that is a ``TypeError``.
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=default).encode()).hexdigest()


def usable_directory(name: str, key: str) -> Path | None:
    """The directory of one key, made if need be; ``None`` where nothing can be written."""
    directory = user_cache() / name / key
    try:
        directory.mkdir(parents=True, exist_ok=True)
        os.utime(directory)  # used now: the last to be cleared away
    except OSError:
        return None
    return directory if os.access(directory, os.W_OK) else None


@contextmanager
def claimed(directory: Path) -> Iterator[bool]:
    """While the block runs no other process, nor thread, may claim the directory; false where it cannot be claimed.

    For libraries that write files in their place, where another process may read them half-written.  A process that is
    killed claims nothing any more.
    """
    lock = FileLock(directory / "lock", timeout=_PATIENCE)
    try:
        lock.acquire()
    except OSError as error:  # a file system without locks, another user's file, or waited for too long
        _log.debug("%s: %s", directory, error)
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def clear_oldest(name: str, most_bytes: int) -> None:
    """Remove directories of keys that were not used for longest, until the rest fits into ``most_bytes``.

    The one that was used last stays in any case.
    """
    total = 0
    for age, directory in enumerate(sorted((user_cache() / name).glob("*"), key=_last_used, reverse=True)):
        total += _size(directory)
        if age and total > most_bytes:
            shutil.rmtree(directory, ignore_errors=True)


def _last_used(directory: Path) -> float:
    try:
        return directory.stat().st_mtime
    except OSError:  # another process has cleared it away
        return 0.0


def _size(directory: Path) -> int:
    try:
        return sum(file.stat().st_size for file in directory.iterdir())
    except OSError:
        return 0


def write_whole(path: Path, data: bytes) -> bool:
    """Write a file of the cache, whole or not at all, and remove what killed processes have left beside it.

    Returns:
        Whether it was written; a cache that takes no files is no error.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_up(path.parent)
        with whole_file(path) as partial:
            partial.write_bytes(data)
    except OSError as error:
        _log.debug("%s: %s", path, error)
        return False
    return True


def _clear_up(directory: Path) -> None:
    for path in directory.glob(".*.partial-*"):
        pid = path.name.rpartition("-")[2]
        if pid.isdigit() and not alive(int(pid), path):
            path.unlink(missing_ok=True)
