"""JSON values to dataclasses: what does not fit is refused, and the message names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from f2edge.bundle.schema import parse


@dataclass(frozen=True)
class Inner:
    """A value with a default."""

    width: int
    height: int = 1


@dataclass(frozen=True)
class Outer:
    """A dataclass within another."""

    inner: Inner
    names: tuple[str, ...] = ()


def test_values_that_fit() -> None:
    """Lists become tuples, objects become dataclasses, and defaults fill what is absent."""
    assert parse(Outer, {"inner": {"width": 3}, "names": ["a", "b"]}, "x") == Outer(Inner(3), ("a", "b"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "x: missing inner"),
        ({"inner": {"height": 2}}, "x.inner: missing width"),
        ({"inner": {"width": 1, "widht": 2, "depth": 3}}, "x.inner: unknown depth, widht"),
        ({"inner": {"widht": 2}}, "x.inner: missing width; unknown widht"),
        ({"inner": {"width": True}}, "x.inner.width is True, not int"),
        ({"inner": {"width": 1}, "names": [1]}, "x.names[0] is 1, not str"),
        ([], "x is [], not Outer"),
    ],
)
def test_values_that_do_not_fit(value: Any, message: str) -> None:
    """A name that is missing and one that is not known are told apart."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        parse(Outer, value, "x")
    assert str(caught.value) == message
