"""Tell what a path leads to; whatever the path is, none of these questions fails."""

from __future__ import annotations

import os.path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def is_file(path: Path) -> bool:
    """Tell whether a path leads to a file.

    ``Path.is_file`` fails if the name is longer than the file system takes, or its folder may not be entered.
    """
    return os.path.isfile(path)  # noqa: PTH113


def is_dir(path: Path) -> bool:
    """Tell whether a path leads to a directory; see :func:`is_file`."""
    return os.path.isdir(path)  # noqa: PTH112


def exists(path: Path) -> bool:
    """Tell whether a path leads to anything; see :func:`is_file`."""
    return os.path.exists(path)  # noqa: PTH110


def is_link(path: Path) -> bool:
    """Tell whether a path is a symbolic link; see :func:`is_file`."""
    return os.path.islink(path)  # noqa: PTH114
