"""Read values of the JSON files of a checkpoint, and check each; null counts as absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from f2edge.errors import CheckpointError
from f2edge.lines import shown

Section = Mapping[str, Any]


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
            f"config.json: {name} is {shown(entries)}; it must have one entry for each of {stages} stages"
        )
    return _checked(name, kind, entries, least)


def _wanted(values: Section, name: str) -> Any:
    if name not in values:
        raise CheckpointError(f"config.json lacks {name}, which the tensors do not tell")
    return values[name]


def _checked(name: str, kind: type, values: list[Any] | tuple[Any, ...], least: int) -> tuple[Any, ...]:
    if any(type(value) is not kind for value in values) or (kind is int and min(values) < least):
        wanted = "true or false" if kind is bool else f"whole numbers from {least}"
        raise CheckpointError(f"config.json: {name} is {shown(values)}; it must be {wanted}")
    return tuple(values)
