"""The record of replayed golden cases, in the manifest and as the result of :func:`f2edge.verify.verify`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from f2edge.bundle.golden import sqnr_db
from f2edge.targets import Precision

if TYPE_CHECKING:
    from collections.abc import Collection

TOKENS_DIFFER = "tokens of the answers differ"
_ROUNDING_DB = 0.1
"""Decibels are recorded with one digit."""


@dataclass(frozen=True)
class VerifiedComponent:
    """One component against the float reference.

    Args:
        precision: of its weights.
        relative_error: |x - reference| / |reference| over the golden values; None if it is not a finite number.
        sqnr_db: signal to quantization noise in decibels; None if it is not a finite number.
        tolerance: the largest relative error that passes.
        passed: whether the error is within the tolerance; false if it is not a finite number.
    """

    precision: Precision
    relative_error: float | None
    sqnr_db: float | None
    tolerance: float
    passed: bool

    @classmethod
    def measured(cls, precision: Precision, relative_error: float, tolerance: float) -> VerifiedComponent:
        """Compare a measured error with its tolerance."""
        decibels = _finite(round(sqnr_db(relative_error), 1))
        return cls(precision, _finite(relative_error), decibels, tolerance, passed=relative_error <= tolerance)

    @property
    def off_by(self) -> str:
        """The error of the component against the reference, in words."""
        return f"off by {math.nan if self.relative_error is None else self.relative_error:.2g}"

    def faults(self) -> list[str]:
        """Say what no measurement gives, each as a short sentence."""
        error = self.relative_error
        values = {"tolerance": self.tolerance, "relative_error": error, "sqnr_db": self.sqnr_db}
        faults = [f"{name} is {value}" for name, value in values.items() if not _possible(name, value)]
        if faults:
            return faults
        if self.passed != (error is not None and error <= self.tolerance):
            faults.append(f"passed is {self.passed}, relative_error {error}, tolerance {self.tolerance}")
        if self.sqnr_db is not None and (error is None or abs(sqnr_db(error) - self.sqnr_db) > _ROUNDING_DB):
            faults.append(f"relative_error is {error}, which is not {self.sqnr_db} dB")
        return faults


@dataclass(frozen=True)
class VerifiedAnswer:
    """One golden answer against the reference's.

    Args:
        task: what was asked.
        num_beams: of the search.
        tokens: how many the reference's answer has.
        agreeing: how many agree before the first difference.
    """

    task: str
    num_beams: int
    tokens: int
    agreeing: int

    @property
    def passed(self) -> bool:
        """Whether all tokens agree."""
        return self.agreeing == self.tokens


@dataclass(frozen=True)
class Verified:
    """All golden cases on one device.

    Args:
        device: the engine's name of it.
        passed: whether every component passed, and in fp32 every answer too.
        components: by name.
        answers: one for each golden case.
    """

    device: str
    passed: bool
    components: dict[str, VerifiedComponent]
    answers: tuple[VerifiedAnswer, ...]

    @classmethod
    def of(cls, device: str, components: dict[str, VerifiedComponent], answers: tuple[VerifiedAnswer, ...]) -> Verified:
        """Draw the verdict.  Below fp32 a search may take another way at a near tie, which is reported, not failed."""
        exact = all(component.precision == "fp32" for component in components.values())
        right = all(component.passed for component in components.values())
        return cls(device, right and (not exact or all(answer.passed for answer in answers)), components, answers)

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return {**asdict(self), "answers": [asdict(answer) for answer in self.answers]}

    def failed(self) -> dict[str, VerifiedComponent]:
        """Return the components that did not pass, by name; none if only tokens of the answers differ."""
        return {name: component for name, component in self.components.items() if not component.passed}

    def why(self) -> str:
        """Say in a few words why the verdict is bad."""
        return ", ".join(f"{name} is {failed.off_by}" for name, failed in self.failed().items()) or TOKENS_DIFFER

    def faults(self, components: Collection[str], cases: int) -> list[str]:
        """Say what no bundle that was compiled to the end has recorded, each as a short sentence.

        Args:
            components: the names of the bundle's.
            cases: how many golden cases it has.
        """
        faults = [f"components.{name}: {fault}" for name, one in self.components.items() for fault in one.faults()]
        if self.components.keys() != set(components):
            faults.append(f"its components are {', '.join(self.components) or 'none'}")
        if len(self.answers) != cases or any(not 0 <= answer.agreeing <= answer.tokens for answer in self.answers):
            faults.append("its answers are not those of the golden cases")
        if not (self.passed and Verified.of(self.device, self.components, self.answers).passed):
            faults.append("it says that the bundle did not pass")
        return faults


def _possible(name: str, value: float | None) -> bool:
    """Tell whether a number can have been measured; only decibels may be negative."""
    return value is None or (math.isfinite(value) and (name == "sqnr_db" or value >= 0))


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None
