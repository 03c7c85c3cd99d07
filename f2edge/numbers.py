"""Tell numbers from other values of callers: in Python truth values are numbers too, and numpy has its own."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TypeGuard


def is_whole(value: object) -> TypeGuard[int]:
    """Tell whether a value is a whole number, of Python or of numpy, and no truth value."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether a value is a real number, of Python or of numpy, and no truth value."""
    return isinstance(value, Real) and not isinstance(value, bool)
