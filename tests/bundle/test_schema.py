"""JSON values to records and back: what fits is kept, all else is a ``ValueError`` of one line."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from f2edge.bundle.quantization import Quantization
from f2edge.bundle.schema import SchemaError, parse, parse_all
from f2edge.bundle.verified import Verified


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
    """The message distinguishes missing names, unknown names and values of a wrong type."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        parse(Outer, value, "x")
    assert str(caught.value) == message


@dataclass(frozen=True)
class Part:
    """Every plain type, a literal, and tuples."""

    name: str
    size: int
    share: float
    kind: Literal["one", "two"]
    pair: tuple[int, str]
    flags: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Whole:
    """A record that contains others: optional, by name and in a tuple; and a value that may be anything."""

    parts: dict[str, Part]
    row: tuple[Part, ...]
    first: Part | None
    anything: Any = None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
NUMBER = st.floats(allow_nan=False)
PART = st.builds(
    Part,
    name=st.text(),
    size=st.integers(),
    share=NUMBER,
    kind=st.sampled_from(["one", "two"]),
    pair=st.tuples(st.integers(), st.text()),
    flags=st.lists(st.booleans(), max_size=3).map(tuple),
)
WHOLE = st.builds(
    Whole,
    parts=st.dictionaries(st.text(), PART, max_size=3),
    row=st.lists(PART, max_size=3).map(tuple),
    first=st.none() | PART,
    anything=st.none() | st.booleans() | st.text(),
)


@given(WHOLE)
def test_records_survive(whole: Whole) -> None:
    """A record that is written as JSON is read back equal."""
    assert parse(Whole, json.loads(json.dumps(asdict(whole))), "whole") == whole


def read(kind: Any, value: Any) -> None:
    """Parse a value; check that it is of the kind, or refused in one printable line."""
    try:
        record = parse(kind, value, "value")
    except ValueError as error:
        assert str(error).isprintable()  # noqa: PT017
    else:
        assert isinstance(record, kind)


@given(JSON, st.sampled_from([Part, Whole, Verified, Quantization, float, int, str, bool]))
@example(10**400, float)
@example({"na\nme": 1}, Part)
@example({"parts": {"\ud800": None}, "row": [], "first": None}, Whole)
def test_any_value_is_read_or_refused(value: Any, kind: Any) -> None:
    """No value causes another exception than the parser's own."""
    read(kind, value)


@given(WHOLE, JSON, st.data())
def test_any_damage_is_read_or_refused(whole: Whole, value: Any, data: st.DataObject) -> None:
    """A record with one wrong value, at any depth, causes no other exception, and the input is not changed."""
    damaged = json.loads(json.dumps(asdict(whole)))
    inner = damaged
    while True:
        key = data.draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        if not isinstance(inner[key], (dict, list)) or not inner[key] or data.draw(st.booleans()):
            break
        inner = inner[key]
    inner[key] = value
    before = copy.deepcopy(damaged)
    read(Whole, damaged)
    assert repr(damaged) == repr(before)


def test_a_value_nested_deeper_than_python_goes() -> None:
    """A value nested too deep for Python's recursion is refused, and the error shows its beginning."""
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(SchemaError, match=r"value is \[\[\["):
        parse(int, value, "value")


def test_all_faults_of_a_record_are_named() -> None:
    """One message lists all missing, unknown and wrong members."""
    part = {"name": "n", "size": True, "share": "x", "kind": "three", "pair": [1], "colour": 1}
    with pytest.raises(SchemaError) as caught:
        parse(Whole, {"parts": {"a": part}, "row": [None]}, "whole")
    assert caught.value.faults == [
        "whole: missing first",
        "whole.parts.a: unknown colour",
        "whole.parts.a.size is True, not int",
        "whole.parts.a.share is 'x', not float",
        "whole.parts.a.kind is 'three', not Literal['one', 'two']",
        "whole.parts.a.pair is [1], not tuple[int, str]",
        "whole.row[0] is None, not Part",
    ]


def test_many_faults_are_counted() -> None:
    """The message names the first faults and counts the rest, so that it stays short."""
    with pytest.raises(SchemaError, match=r"v\[7\] is 'x', not int; and 992 more faults$") as caught:
        parse(tuple[int, ...], ["x"] * 1000, "v")
    assert len(caught.value.faults) == 1000


def test_several_values() -> None:
    """The values are returned in order; if one does not fit, faults that were known before come first."""
    assert parse_all([(int, 1, "a"), (float, 2, "b")]) == [1, 2.0]
    with pytest.raises(SchemaError, match=r"^c is missing; a is 'x', not int$"):
        parse_all([(int, "x", "a"), (str, "y", "b")], ["c is missing"])
