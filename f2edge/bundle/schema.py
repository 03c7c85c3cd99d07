"""From plain JSON values to frozen dataclasses, by their type hints: what does not fit is refused, and named."""

from __future__ import annotations

import types
from dataclasses import MISSING, fields, is_dataclass
from reprlib import Repr
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from f2edge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

Part: TypeAlias = tuple[Any, Any, str]
"""A type, a value, and how an error calls the value."""

_SHOWN = 8
"""An error names as many faults and counts the others."""

_short = Repr()
_short.maxstring = _short.maxother = 60


class SchemaError(ValueError):
    """JSON values that are of another type, missing or not known.

    Args:
        faults: what is wrong, each as a short sentence.
    """

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        more = [f"and {len(faults) - _SHOWN} more faults"] * (len(faults) > _SHOWN)
        super().__init__("; ".join([*faults[:_SHOWN], *more]))


def parse(kind: Any, value: Any, where: str) -> Any:
    """``value`` as ``kind``: a dataclass, a tuple (from a list), a dict with string keys, a union, or a plain type.

    Args:
        kind: the type.
        value: what ``json.loads`` gave.
        where: how an error calls the value.

    Raises:
        SchemaError: the value, or some inside it, are of another type, missing or not known; all of them are named.
    """
    if is_dataclass(kind):
        return _dataclass(kind, value, where)
    parser = _PARSERS.get(get_origin(kind), _plain)
    return parser(kind, value, where)


def parse_all(parts: Iterable[Part], faults: Iterable[str] = ()) -> list[Any]:
    """Parse several values.

    Args:
        parts: what to parse.
        faults: what is known to be wrong before.

    Raises:
        SchemaError: the faults of all of them.
    """
    values, wrong = [], list(faults)
    for part in parts:
        try:
            values.append(parse(*part))
        except SchemaError as error:
            wrong += error.faults
    if wrong:
        raise SchemaError(wrong)
    return values


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _misfit(kind, value, where)
    required = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    hints = get_type_hints(kind)
    known = [name for name in hints if name in value]
    names = {"missing": sorted(required - value.keys()), "unknown": [*map(_name, sorted(value.keys() - hints.keys()))]}
    told = "; ".join(f"{fault} {', '.join(members)}" for fault, members in names.items() if members)
    faults = [f"{where}: {told}"] if told else []
    values = parse_all([(hints[name], value[name], f"{where}.{name}") for name in known], faults)
    try:
        return kind(**dict(zip(known, values, strict=True)))
    except (ValueError, InputError) as error:
        raise SchemaError([f"{where}: {error}"]) from error


def _tuple(kind: Any, value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _misfit(kind, value, where)
    kinds = get_args(kind)
    kinds = kinds[:1] * len(value) if kinds[-1] is Ellipsis else kinds
    if len(kinds) != len(value):
        raise _misfit(kind, value, where)
    return tuple(parse_all((kinds[i], inner, f"{where}[{i}]") for i, inner in enumerate(value)))


def _dict(kind: Any, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _misfit(kind, value, where)
    inner = parse_all((get_args(kind)[1], part, f"{where}.{_name(name)}") for name, part in value.items())
    return dict(zip(value, inner, strict=True))


def _union(kind: Any, value: Any, where: str) -> Any:
    for choice in get_args(kind):
        try:
            return parse(choice, value, where)
        except ValueError:
            continue
    raise _misfit(kind, value, where)


def _literal(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, str) or value not in get_args(kind):
        raise _misfit(kind, value, where)
    return value


def _plain(kind: Any, value: Any, where: str) -> Any:
    """Accept a value of exactly this type, since to Python True is an int; a float may be a small enough int."""
    if kind is Any or type(value) is kind:
        return value
    if kind is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise _misfit(kind, value, where) from None
    raise _misfit(kind, value, where)


def _name(name: str) -> str:
    """The name of a member, on one line whatever it is."""
    return f"{name:.60}" if name.isprintable() else _short.repr(name)


def _misfit(kind: Any, value: Any, where: str) -> SchemaError:
    wanted = kind.__name__ if isinstance(kind, type) and get_origin(kind) is None else str(kind).replace("typing.", "")
    return SchemaError([f"{where} is {_short.repr(value):.60}, not {wanted}"])


_PARSERS = {
    tuple: _tuple,
    dict: _dict,
    Union: _union,
    types.UnionType: _union,
    Literal: _literal,
}
