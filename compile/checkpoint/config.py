"""Read values of the JSON files of a checkpoint, and check each; null counts as absent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from f2edge.bundle.schema import parse
from f2edge.errors import CheckpointError

Section = Mapping[str, Any]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
DEFAULT_IMAGE_SIZE = 768


def section(config: Section, name: str) -> Section:
    """Return a section of ``config.json`` without its nulls.

    Raises:
        CheckpointError: it is missing, or is not an object.
    """
    section = config.get(name)
    if not isinstance(section, Mapping):
        raise CheckpointError(f"config.json has no {name}: this is not a Florence-2 checkpoint")
    return {key: value for key, value in section.items() if value is not None}


def integer(values: Section, name: str) -> int:
    """Return a positive integer.

    Raises:
        CheckpointError: it is missing, or is not a positive integer.
    """
    (number,) = _checked(name, int, [_wanted(values, name)], 1)
    return int(number)


def per_stage(values: Section, name: str, stages: int, *, kind: type = int, least: int = 1) -> tuple[Any, ...]:
    """Return one value for each stage of the tower: integers from ``least`` on, or booleans.

    Raises:
        CheckpointError: they are missing, or of another number or kind.
    """
    entries = _wanted(values, name)
    if not isinstance(entries, (list, tuple)) or not entries or len(entries) != stages:
        raise CheckpointError(
            f"config.json: {name} is {entries!r:.60}; it must have one entry for each of {stages} stages"
        )
    return _checked(name, kind, entries, least)


def _wanted(values: Section, name: str) -> Any:
    if name not in values:
        raise CheckpointError(f"config.json lacks {name}, which the tensors do not tell")
    return values[name]


def _checked(name: str, kind: type, values: list[Any] | tuple[Any, ...], least: int) -> tuple[Any, ...]:
    if any(type(value) is not kind for value in values) or (kind is int and min(values) < least):
        wanted = "true or false" if kind is bool else f"whole numbers from {least}"
        raise CheckpointError(f"config.json: {name} is {values!r:.60}; it must be {wanted}")
    return tuple(values)


def image_size(processor: Section) -> tuple[int, int]:
    """Return the (height, width) in pixels that the image processor resizes to; 768 x 768 if it says nothing.

    Raises:
        CheckpointError: the size is of another form.
    """
    size = {} if processor.get("size") is None else processor["size"]
    if type(size) is int:
        return size, size
    known = isinstance(size, Mapping) and size.keys() <= {"height", "width"}
    given = [size.get(name) for name in ("height", "width")] if known else []
    sides = [DEFAULT_IMAGE_SIZE if side is None else side for side in given]
    if not sides or any(type(side) is not int for side in sides):
        raise CheckpointError(f"the image processor's size is {size!r:.60}; it must have a height and a width")
    return sides[0], sides[1]


def channels(processor: Section, name: str, default: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return three finite numbers of the image processor, one for each colour.

    Raises:
        CheckpointError: the value is of another form.
    """
    value = processor.get(name)
    if value is None:
        return default
    try:
        values: tuple[float, float, float] = parse(tuple[float, float, float], value, name)
    except ValueError as error:
        raise CheckpointError(f"the image processor: {error}") from error
    if not all(map(math.isfinite, values)):
        raise CheckpointError(f"the image processor's {name} is {values}; it must be finite")
    return values
