"""Files and directories of a run that are there whole or not at all, even if the machine stops at any moment."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from f2edge.bundle.writing import whole_file
from f2edge.paths import exists, is_dir

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTIAL = ".partial-"
"""Part of the names of what is being written (f2edge/bundle/writing.py)."""


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """Give a new directory to fill, which takes the place of ``path`` if the block ends without an error.

    Raises:
        OSError: it cannot be written; the error names ``path``.
    """
    partial, old = (path.with_name(f".{path.name}{PARTIAL}{kind}") for kind in ("new", "old"))
    try:
        partial.mkdir()
        yield partial
        if exists(path):
            path.rename(old)
        partial.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_durably(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, even if the machine stops at any moment.

    Raises:
        OSError: it cannot be written; the error names ``path``.
    """
    try:
        with whole_file(path) as partial, partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _sync_directory(place: Path) -> None:
    """Have the system write the names in a directory; Windows has no such call."""
    with suppress(PermissionError):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_partial(place: Path) -> None:
    """Remove from a directory what killed processes have begun to write."""
    for path in place.glob(f".*{PARTIAL}*"):
        shutil.rmtree(path) if is_dir(path) else path.unlink(missing_ok=True)
