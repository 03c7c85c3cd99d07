"""Read annotation files, and find the pictures beside them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from f2edge.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SUFFIXES = ("", ".jpg", ".jpeg", ".png")


class Pictures:
    """Finds a picture by its name in a folder, in a folder in it, or in a folder in its ``images``.

    Args:
        root: the folder of the data set.
    """

    def __init__(self, root: Path) -> None:
        below = [path for place in (root, root / "images") if place.is_dir() for path in sorted(place.iterdir())]
        self._folders = [root, *(path for path in below if path.is_dir())]

    def find(self, name: str) -> Path:
        """Return the first file of that name, with or without its suffix; if there is none, the path it should have."""
        places = (folder / f"{name}{suffix}" for folder in self._folders for suffix in _SUFFIXES)
        return next((place for place in places if place.is_file()), self._folders[0] / name)


@contextmanager
def reading(place: str | Path) -> Iterator[None]:
    """Turn an error about the data of a file into one line that names the file.

    Raises:
        DatasetError: a value is missing, or is of the wrong kind.
    """
    try:
        yield
    except KeyError as error:
        raise DatasetError(f"{place} is not what it should be: an entry has no {error}") from error
    except (ValueError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise DatasetError(f"{place} is not what it should be ({error}); check or convert it again") from error


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DatasetError: the file is not JSON.
    """
    with reading(path):
        return json.loads(path.read_text(encoding="utf-8"))


def read_jsonl(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the place, for errors, and the value of each line of a JSONL file; empty lines are ignored.

    Raises:
        DatasetError: a line is not JSON.
    """
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                place = f"{path}, line {number}"
                with reading(place):
                    yield place, json.loads(line)
