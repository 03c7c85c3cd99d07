"""Read annotation files, and find the pictures beside them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from f2edge.errors import DatasetError
from f2edge.evaluation.fields import entry
from f2edge.paths import is_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SUFFIXES = ("", ".jpg", ".jpeg", ".png")
_BOM = 4  # bytes that tell UTF-8 from UTF-16 and UTF-32
_CONVERT = "is not UTF-8; if the file is in Latin-1, convert it: iconv -f LATIN1 -t UTF-8"


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
        return next((place for place in places if is_file(place)), self._folders[0] / name)


def is_hidden(path: Path) -> bool:
    """Tell whether a file is hidden, as the ``._*`` files are that macOS adds."""
    return path.name.startswith(".")


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
    except (ValueError, TypeError, AttributeError, ArithmeticError, LookupError, RecursionError) as error:
        raise DatasetError(f"{place} is not what it should be ({error}); check or convert it again") from error


def numbered(path: Path, what: str, data: Any, key: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of a list with their places for errors, such as ``captions.json, annotation 3``.

    Args:
        path: the file.
        what: the name of one object.
        data: the list, or what has it.
        key: the key of the list in ``data``.

    Raises:
        DatasetError: there is no such list, or something in it is not an object.
    """
    with reading(path):
        values = enumerate(data[key] if key else data, start=1)
    for number, value in values:
        place = f"{path}, {what} {number}"
        with reading(place):
            one = entry(value)
        yield place, one


def read_text(path: Path) -> str:
    """Read a text in UTF-8, UTF-16 or UTF-32, with a byte order mark or without.

    Raises:
        ValueError: the text is in another encoding.
    """
    data = path.read_bytes()
    encoding = json.detect_encoding(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        if not encoding.startswith("utf-8"):
            raise
        raise ValueError(f"line {data.count(10, 0, error.start) + 1} {_CONVERT}") from error


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DatasetError: the file is not JSON.
    """
    with reading(path):
        content = read_text(path)
        if not content.strip():
            raise ValueError("it is empty")
        return json.loads(content)


def read_jsonl(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the place, for errors, and the value of each line of a JSONL file; empty lines are ignored.

    Raises:
        DatasetError: a line is not JSON.
    """
    with path.open("rb") as file:
        encoding = json.detect_encoding(file.read(_BOM))
    with reading(path), path.open(encoding=encoding, errors="surrogateescape") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                place = f"{path}, line {number}"
                with reading(place):
                    value = json.loads(_whole(line))
                yield place, value


def _whole(line: str) -> str:
    try:
        line.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"it {_CONVERT}") from error
    return line
