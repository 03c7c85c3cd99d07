"""Read the JSON files of measurements and evaluations."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from f2edge.bundle.schema import SchemaError
from f2edge.errors import InputError
from f2edge.reporting.records import Compared, Evaluation, Measured, read_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from f2edge.reporting.records import Data, Evaluated

_LARGEST = 64 * 2**20
"""Bytes; a day of answers of 10 ms is half as large."""
_MOST = 1e15
"""Numbers up to here can be multiplied by every unit that a report has."""


@dataclass(frozen=True)
class Pair:
    """Two bundles that were compared in turns."""

    first: Measured
    second: Measured
    compared: Compared


@dataclass(frozen=True)
class Results:
    """What the files hold.

    Args:
        measured: the measurements, in the order of the files.
        pairs: the comparisons.
        evaluated: the metrics of bundles, each with the data set.
    """

    measured: tuple[Measured, ...]
    pairs: tuple[Pair, ...]
    evaluated: tuple[tuple[Evaluated, Data], ...]

    @classmethod
    def of(cls, named: Iterable[tuple[str, Any]]) -> Results:
        """Check JSON values.

        Args:
            named: the values, each with the name that an error calls it.

        Raises:
            InputError: a value is no result of f2edge; or none of them is a measurement.
        """
        measured: list[Measured] = []
        pairs: list[Pair] = []
        evaluated: list[tuple[Evaluated, Data]] = []
        for name, value in named:
            found = _read(name, value)
            if isinstance(found, Evaluation):
                evaluated += [(bundle, found.data) for bundle in found.bundles]
            else:
                measured += found
                pairs += _pair(name, value, found)
        if not measured:
            raise InputError("there is no measurement among the files; make one with f2edge bench --json")
        return cls(tuple(measured), tuple(pairs), tuple(evaluated))

    def accuracy(self, measured: Measured) -> list[tuple[Evaluated, Data]]:
        """Return the metrics of the very bundle that was measured."""
        return [(one, data) for one, data in self.evaluated if one.bundle_sha256 == measured.bundle_sha256]


def read_results(paths: Sequence[Path]) -> Results:
    """Read files.

    Raises:
        InputError: a file cannot be read, or is no result of f2edge.
    """
    return Results.of((str(path), _load(path)) for path in paths)


def _load(path: Path) -> Any:
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path} is larger than {_LARGEST // 2**20} MiB; it is no result of f2edge")
        text = path.read_text("utf-8")
        return json.loads(text, parse_constant=_refuse, parse_float=_decimal, parse_int=_whole)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; name files that f2edge bench --json has printed") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON ({error}); give what f2edge bench --json printed") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _decimal(text: str) -> float:
    if abs(value := float(text)) > _MOST:
        raise ValueError(f"{text:.20} is larger than anything that is measured")
    return value


def _whole(text: str) -> int:
    _decimal(text)
    return int(text)


def _read(name: str, value: Any) -> list[Measured] | Evaluation:
    members = value if isinstance(value, dict) else {}
    try:
        if "stages_ms" in members:
            both = [value, *([value["against"]] if "against" in value else [])]
            return [read_record(Measured, one, "bench") for one in both]
        if {"data", "bundles"} <= members.keys():
            evaluation: Evaluation = read_record(Evaluation, value, "eval")
            return evaluation
    except SchemaError as error:
        raise InputError(f"{name} is damaged ({error}); measure again") from error
    raise InputError(f"{name} is neither of f2edge bench nor of f2edge eval --json; give files of these two")


def _pair(name: str, value: Any, found: list[Measured]) -> list[Pair]:
    if len(found) == 1:
        return []
    try:
        return [Pair(found[0], found[1], read_record(Compared, value.get("comparison"), "comparison"))]
    except SchemaError as error:
        raise InputError(f"{name} is damaged ({error}); measure again") from error
