"""Write files and directories that appear whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from f2edge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST = "manifest.json"
_WINDOWS = sys.platform == "win32"
_DAY = 24 * 60 * 60


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to, and rename it to ``path`` when the block ends without an error.

    Raises:
        OSError: the file cannot be renamed; then, and after any error in the block, ``path`` is as it was.
    """
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_bundle_directory(destination: Path, *, force: bool = False) -> Iterator[Path]:
    """Give a fresh directory beside ``destination``, which takes its place when the block ends without an error.

    Files that an earlier, killed attempt left beside it are removed.  Only a bundle or an empty directory is replaced.

    Args:
        destination: the directory of the new bundle.
        force: replace a bundle that is there.

    Raises:
        BundleError: ``destination`` must not be replaced, its parent directory is missing, or a file cannot be written,
            in the block or here.
    """
    destination = Path(os.path.abspath(destination))  # noqa: PTH100 - "." needs a name, links must stay links
    try:
        _clear_up(destination)
        refuse_occupied(destination, force=force)
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
    if not destination.parent.is_dir():
        raise BundleError(f"{destination.parent} is not a directory; create it first")
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
