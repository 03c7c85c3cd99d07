"""Directories that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from f2edge.errors import BundleError

MANIFEST = "manifest.json"


@contextmanager
def new_bundle_directory(destination: Path, *, force: bool = False) -> Iterator[Path]:
    """A fresh directory beside ``destination`` that takes its place when the block ends without an error.

    What an earlier, killed attempt left beside it is removed.  Only a bundle or an empty directory is ever replaced.

    Args:
        destination: where the bundle shall be.
        force: replace a bundle that is there.

    Raises:
        BundleError: something is there that must not be replaced, or the parent directory is missing.
    """
    refuse_occupied(destination, force=force)
    _remove_stale(destination)
    partial = destination.with_name(f".{destination.name}.partial-{os.getpid()}")
    partial.mkdir()
    try:
        yield partial
        _replace(partial, destination)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def refuse_occupied(destination: Path, *, force: bool) -> None:
    """Fail before any work is done where the bundle could not be put in its place.

    Raises:
        BundleError: see :func:`new_bundle_directory`.
    """
    if not destination.parent.is_dir():
        raise BundleError(f"{destination.parent} is not a directory; create it first")
    if destination.is_symlink() or (destination.exists() and not destination.is_dir()):
        raise BundleError(f"{destination} is a file or a link; choose another place for the bundle")
    if not destination.exists() or not any(destination.iterdir()):
        return
    if not (destination / MANIFEST).is_file():
        raise BundleError(f"{destination} is not empty and no bundle; choose another place")
    if not force:
        raise BundleError(f"{destination} is there already; --force replaces it")


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


def _remove_stale(destination: Path) -> None:
    for path in destination.parent.glob(f".{destination.name}.partial-*"):
        pid = path.name.rpartition("-")[2]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
