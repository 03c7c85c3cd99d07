"""Write files and directories that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
import stat
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from f2edge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST = "manifest.json"
_WINDOWS = sys.platform == "win32"
_DAY = 24 * 60 * 60


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path to write to; what the block has written becomes the content of ``path`` if it ends without an error.

    Missing directories are made.  A link stays, and its target gets the content.  A character device, a pipe and what
    this process prints to are written into.  Any other path is replaced by a rename, and keeps its permissions.

    Raises:
        OSError: the content cannot be put in its place, or ``path`` is neither a file nor any of the above; then, and
            after any error in the block, ``path`` is as it was.
    """
    if takes_content(path):
        with TemporaryDirectory() as directory:
            partial = Path(directory) / path.name
            yield partial
            with partial.open("rb") as source, path.open("ab") as stream:
                shutil.copyfileobj(source, stream)
        return
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        yield partial
        with contextlib.suppress(FileNotFoundError):  # a new file
            shutil.copymode(target, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def takes_content(path: Path) -> bool:
    """Tell whether a path must be written into: a character device, a pipe, or what this process prints to.

    Raises:
        OSError: there is something else that is not a regular file, such as a disk, or a link that leads nowhere.
    """
    try:
        there = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if stat.S_ISREG(there.st_mode):
        return any(os.path.samestat(there, stream) for stream in _printed())
    if stat.S_ISDIR(there.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not (stat.S_ISCHR(there.st_mode) or stat.S_ISFIFO(there.st_mode)):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return True


def _printed() -> Iterator[os.stat_result]:
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # closed
            yield os.fstat(descriptor)


def nearest_directory(path: Path) -> Path:
    """Return the directory that a file or directory would be made in, or the nearest one above it that is there.

    Raises:
        OSError: something that is not a directory is in its place.
    """
    place = (Path(os.path.realpath(path)) if path.is_symlink() else path.absolute()).parent
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise OSError(errno.ENOTDIR, "not a directory", str(place))
    return place


@contextmanager
def new_bundle_directory(destination: Path, *, force: bool = False) -> Iterator[Path]:
    """Give a fresh directory beside ``destination``, which takes its place when the block ends without an error.

    Files that an earlier, killed attempt left beside it are removed.  Only a bundle or an empty directory is replaced.

    Args:
        destination: the directory of the new bundle.
        force: replace a bundle that is there.

    Raises:
        BundleError: ``destination`` must not be replaced, or a file cannot be written, in the block or here.
    """
    destination = Path(os.path.abspath(destination))  # noqa: PTH100 - "." needs a name, links must stay links
    try:
        _clear_up(destination)
        refuse_occupied(destination, force=force)
        with _directory(destination.parent):
            partial = destination.with_name(f".{destination.name}.partial-{os.getpid()}")
            partial.mkdir()
            try:
                yield partial
                refuse_occupied(destination, force=force)  # much may have happened meanwhile
                _replace(partial, destination)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise BundleError(f"{destination} cannot be written: {error.strerror or error}") from error


@contextmanager
def _directory(path: Path) -> Iterator[None]:
    """Make a directory and those above it; after an error remove those that were missing and are empty again."""
    made = [place for place in (path, *path.parents) if not place.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for place in made:
                place.rmdir()
        raise


def claim_directory(parent: Path, prefix: str) -> Path:
    """Return a directory that no living process uses: a fresh one, or one that a killed process left, with its files.

    Args:
        parent: the directory that it is in.
        prefix: the beginning of its name; the id of the process that uses it follows.
    """
    mine = parent / f"{prefix}{os.getpid()}"
    for path in sorted(parent.glob(f"{glob.escape(prefix)}*")):
        pid = path.name.removeprefix(prefix)
        if pid.isdigit() and not alive(int(pid), path):
            with contextlib.suppress(OSError):  # another process may be claiming it, too
                return path.rename(mine)
    mine.mkdir()
    return mine


def refuse_occupied(destination: Path, *, force: bool) -> None:
    """Fail before any work is done if the bundle could not be put in its place.

    Raises:
        BundleError: see :func:`new_bundle_directory`.
    """
    try:
        nearest_directory(destination)
    except OSError as error:
        raise BundleError(f"{destination} cannot be made: {error.filename}: {error.strerror}") from error
    if destination.is_symlink() or (destination.exists() and not destination.is_dir()):
        raise BundleError(f"{destination} is a file or a link; choose another place for the bundle")
    if not destination.exists() or not any(destination.iterdir()):
        return
    if not _is_bundle(destination):
        raise BundleError(f"{destination} is not empty and is not a bundle; choose another place")
    if not force:
        raise BundleError(f"{destination} is there already; `force` replaces it")


def _replace(partial: Path, destination: Path) -> None:
    """Move the old bundle aside first: a rename cannot replace a directory that is not empty."""
    old = destination.with_name(f".{destination.name}.old-{os.getpid()}")
    if destination.exists():
        destination.rename(old)
    try:
        partial.rename(destination)
    except OSError:
        if old.exists():
            old.rename(destination)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _is_bundle(directory: Path) -> bool:
    """Tell whether a directory is a bundle; other programs write a ``manifest.json``, too."""
    manifest = directory / MANIFEST
    return manifest.is_file() and b'"format_version"' in manifest.read_bytes()


def _clear_up(destination: Path) -> None:
    """Put back a bundle that a killed attempt had moved aside, and remove the other files that it left."""
    for path in sorted(destination.parent.glob(".*")):
        kind, _, pid = path.name.removeprefix(f".{destination.name}.").partition("-")
        if kind not in ("old", "partial") or not pid.isdigit() or alive(int(pid), path):
            continue
        if kind == "old" and _is_bundle(path) and not destination.exists():
            path.rename(destination)
        else:
            shutil.rmtree(path, ignore_errors=True)


def alive(pid: int, path: Path) -> bool:
    """Tell whether another process has this id; a file with our own id was left by an earlier process with that id.

    On Windows ``os.kill`` would end the process, so the age of the file decides: no compilation takes a day.
    """
    if pid == os.getpid():
        return False
    if _WINDOWS:
        return time.time() - path.stat().st_mtime < _DAY
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
