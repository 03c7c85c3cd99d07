"""Read the fields of annotations, and refuse values of another type than they must have.

Every function raises TypeError or ValueError, or KeyError for a missing key; ``files.reading`` turns them into one line
with the file and the entry.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from f2edge.evaluation.samples import Shape

_SHOWN = 40
_BOX = 4


def entry(value: Any) -> dict[str, Any]:
    """Return a JSON object."""
    if not isinstance(value, dict):
        raise TypeError(f"{_shown(value)} is not an object with keys")
    return value


def entries(data: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return a list of JSON objects; a single object counts as a list of one."""
    value = [data[key]] if isinstance(data[key], dict) else data[key]
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{key} is {_shown(value)}, not a list")
    return [entry(one) for one in value]


def text(data: Mapping[str, Any], key: str) -> str:
    """Return a text; it may be empty."""
    return _text(data[key], key)


def name(data: Mapping[str, Any], key: str) -> str:
    """Return a text that is not empty, such as the name of a file."""
    value = text(data, key)
    if not value.strip():
        raise ValueError(f"{key} is empty")
    return value


def texts(data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return a list of texts; a single text counts as a list of one, and null or a missing key as an empty list."""
    value = data.get(key)
    if value is None:
        return ()
    return tuple(_text(one, key) for one in (value if isinstance(value, (list, tuple)) else [value]))


def identifier(data: Mapping[str, Any], key: str) -> int | str:
    """Return an id.  Digits as text are the number that they write, so that ids of two files can be joined."""
    value = data[key]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError(f"{key} is {_shown(value)}, not a number or a text")
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def shape(values: Any, length: int | None = None) -> Shape:
    """Return coordinates as floats.  A text is no list of numbers, though its digits might be taken for one.

    Args:
        values: the numbers, in a list.
        length: the number of numbers that there must be; None for any.
    """
    if not isinstance(values, (list, tuple)):
        raise TypeError(f"{_shown(values)} is not a list of numbers")
    if length and len(values) != length:
        raise ValueError(f"{_shown(values)} has {len(values)} numbers, not {length}")
    return tuple(map(_number, values))


def corners(values: Any) -> Shape:
    """Return a box x1, y1, x2, y2.  One with x2 < x1 was probably meant as x, y, width, height."""
    x1, y1, x2, y2 = shape(values, _BOX)
    if x2 < x1 or y2 < y1:
        raise ValueError(f"{_shown(values)} is not a box: it must be x1, y1, x2, y2 with x1 <= x2 and y1 <= y2")
    return x1, y1, x2, y2


def size(data: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return (width, height) in pixels; None if a key is missing, null or 0."""
    width, height = (_number(data.get(key) or 0) for key in ("width", "height"))
    return (int(width), int(height)) if width > 0 and height > 0 else None


def shapes(data: Mapping[str, Any], key: str, read: Callable[[Any], Shape] = shape) -> tuple[Shape, ...]:
    """Return a list of coordinates; null or a missing key counts as an empty list."""
    values = data.get(key)
    if values is None:
        return ()
    if not isinstance(values, (list, tuple)):
        raise TypeError(f"{key} is {_shown(values)}, not a list")
    return tuple(map(read, values))


def flag(data: Mapping[str, Any], key: str) -> bool:
    """Return a truth value: 0, 1, false or true; null or a missing key is false."""
    value = data.get(key)
    if value not in {None, 0, 1}:
        raise ValueError(f"{key} is {_shown(value)}, not 0 or 1")
    return bool(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{_shown(value)} is not a number")
    if not math.isfinite(value):
        raise ValueError(f"{_shown(value)} is not a finite number")
    return float(value)


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{key} is {_shown(value)}, not a text")
    value.encode()  # half of a surrogate pair, as "\\ud83d" alone writes it, is no character
    return value


def _shown(value: Any) -> str:
    """Return the beginning of a value as JSON."""
    written = json.dumps(value)
    return written if len(written) <= _SHOWN else f"{written[:_SHOWN]}..."
