"""From plain JSON values to frozen dataclasses, by their type hints: what does not fit is refused, and named."""

from __future__ import annotations

import types
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def parse(kind: Any, value: Any, where: str) -> Any:
    """``value`` as ``kind``: a dataclass, a tuple (from a list), a dict with string keys, a union, or a plain type.

    Args:
        kind: the type.
        value: what ``json.loads`` gave.
        where: how an error calls the value.

    Raises:
        ValueError: the value, or one inside it, is of another type, missing or not known.
    """
    if is_dataclass(kind):
        return _dataclass(kind, value, where)
    parser = _PARSERS.get(get_origin(kind), _plain)
    return parser(kind, value, where)


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(kind, value, where)
    required = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    hints = get_type_hints(kind)
    faults = {"missing": sorted(required - value.keys()), "unknown": sorted(value.keys() - hints.keys())}
    if told := [f"{fault} {', '.join(names)}" for fault, names in faults.items() if names]:
        raise ValueError(f"{where}: {'; '.join(told)}")
    return kind(**{name: parse(hints[name], inner, f"{where}.{name}") for name, inner in value.items()})


def _tuple(kind: Any, value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _wrong(kind, value, where)
    kinds = get_args(kind)
    kinds = kinds[:1] * len(value) if kinds[-1] is Ellipsis else kinds
    if len(kinds) != len(value):
        raise _wrong(kind, value, where)
    return tuple(parse(kinds[i], inner, f"{where}[{i}]") for i, inner in enumerate(value))


def _dict(kind: Any, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(kind, value, where)
    return {name: parse(get_args(kind)[1], inner, f"{where}.{name}") for name, inner in value.items()}


def _union(kind: Any, value: Any, where: str) -> Any:
    for choice in get_args(kind):
        try:
            return parse(choice, value, where)
        except ValueError:
            continue
    raise _wrong(kind, value, where)


def _literal(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, str) or value not in get_args(kind):
        raise _wrong(kind, value, where)
    return value


def _plain(kind: Any, value: Any, where: str) -> Any:
    """Of exactly this type, since to Python True is an int; an int will do for a float."""
    if kind is Any or type(value) is kind:
        return value
    if kind is float and type(value) is int:
        return float(value)
    raise _wrong(kind, value, where)


def _wrong(kind: Any, value: Any, where: str) -> ValueError:
    wanted = kind.__name__ if isinstance(kind, type) and get_origin(kind) is None else str(kind).replace("typing.", "")
    return ValueError(f"{where} is {value!r:.60}, not {wanted}")


_PARSERS = {
    tuple: _tuple,
    dict: _dict,
    Union: _union,
    types.UnionType: _union,
    Literal: _literal,
}
