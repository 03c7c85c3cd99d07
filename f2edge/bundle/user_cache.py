"""The cache of this user: files that can be made again, and are checked before they are used."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from f2edge.bundle.sealing import LOCK, is_sealed, seal
from f2edge.bundle.writing import alive, whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_log = logging.getLogger(__name__)

_NOWHERE = Path(os.devnull)
"""Has no directories, so that nothing is kept for a user who has no home."""
_PATIENCE = 600.0
"""Seconds to wait for another process that fills the same directory: the compiler of an NPU takes minutes."""


def user_cache() -> Path:
    """Return ``F2EDGE_CACHE``, or the folder of f2edge in the cache directory of the system.

    For a user without a home it is a path at which no file can be made.
    """
    if chosen := os.environ.get("F2EDGE_CACHE"):
        return Path(chosen)
    try:
        return _of_system()
    except RuntimeError:  # no HOME, and a user whom the system does not know, as in many containers
        return _NOWHERE / "f2edge"


def _of_system() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "f2edge" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "f2edge"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "f2edge"


def cache_key(parts: object) -> str:
    """Return a key for all inputs of a cached file; an input that is no JSON value counts by its text."""
    return digest(parts, default=str)[:32]


def digest(value: object, default: Callable[[object], str] | None = None) -> str:
    """Return the SHA-256 of a JSON value; the order of the members of an object does not matter.

    Args:
        value: the value.
        default: converts values that JSON does not know; without it they raise ``TypeError``.
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=default).encode()).hexdigest()


def usable_directory(name: str, key: str) -> Path | None:
    """Return the directory of one key, which is made if it is missing; None if it is not writable."""
    directory = user_cache() / name / key
    try:
        directory.mkdir(parents=True, exist_ok=True)
        os.utime(directory)  # used now: the last to be cleared away
    except OSError:
        return None
    return directory if os.access(directory, os.W_OK) else None


@contextmanager
def claimed(directory: Path) -> Iterator[bool]:
    """Lock a directory during the block against other processes and threads; false if it cannot be locked.

    It is for libraries that write files in place, so that another process could read half a file.  The lock of a
    process that is killed is released.
    """
    lock = FileLock(directory / LOCK, timeout=_PATIENCE)
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


@contextmanager
def kept_whole(directory: Path) -> Iterator[bool]:
    """Claim a directory for a library that reads and writes its files in the block, and that trusts what it reads.

    Files that are not as an earlier block has left them are removed first, so that the library makes them anew.

    Yields:
        Whether the library may use the directory.
    """
    with claimed(directory) as mine:
        before = _whole_contents(directory) if mine else None
        yield before is not None
        with suppress(OSError):  # what is not sealed is made again at the next start
            if before is not None and _contents(directory) != before:
                seal(directory)


def _whole_contents(directory: Path) -> set[tuple[str, int, int]] | None:
    """Remove all files of a directory unless they are as they were sealed; return what is left, None if that fails."""
    try:
        if not is_sealed(directory):
            for path in directory.iterdir():
                if path.name != LOCK:
                    _remove(path)
        return _contents(directory)
    except OSError as error:
        _log.debug("%s: %s", directory, error)
        return None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _contents(directory: Path) -> set[tuple[str, int, int]]:
    files = ((path, path.stat()) for path in directory.rglob("*") if path.is_file() and path.name != LOCK)
    return {(str(path), status.st_size, status.st_mtime_ns) for path, status in files}


def clear_oldest(name: str, most_bytes: int) -> None:
    """Remove the least recently used directories until the others fit into ``most_bytes``.

    The most recently used one always stays.
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
