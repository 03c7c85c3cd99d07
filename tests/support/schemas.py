"""The JSON Schemas of the package, and a check that is stricter than they are: no field without a description."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator
from referencing import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = files("f2edge") / "schemas"
_ENDING = ".schema.json"


@cache
def names() -> list[str]:
    """Return the names of all schemas, such as "run"."""
    return sorted(path.name.removesuffix(_ENDING) for path in FOLDER.iterdir())


def read(name: str) -> Any:
    """Return one schema as its file has it."""
    return json.loads((FOLDER / f"{name}{_ENDING}").read_text("utf-8"))


@cache
def validator(name: str, part: str = "", *, strict: bool = True) -> Draft202012Validator:
    """Return the validator of one schema.

    Args:
        name: the name of the schema.
        part: the part of it to validate with, such as "#/$defs/result"; by default the whole.
        strict: refuse fields that the schema does not describe.  For users such a field is one of a later version.
    """
    contents = {f"{one}{_ENDING}": _strict(read(one)) if strict else read(one) for one in names()}
    target = {"$ref": f"{name}{_ENDING}{part}"} | ({"unevaluatedProperties": False} if strict else {})
    return Draft202012Validator(target, registry=Registry().with_contents(contents.items()))


def check(name: str, value: Any, part: str = "") -> None:
    """Validate a value, and refuse fields that the schema does not describe."""
    validator(name, part).validate(value)


def inner(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield the schemas of the values in a value: those of its properties and items, but not its own parts."""
    yield from (*schema.get("properties", {}).values(), *schema.get("prefixItems", ()))
    yield from (schema[keyword] for keyword in ("items", "additionalProperties") if schema.get(keyword))


def _strict(schema: Any) -> Any:
    """Close the objects in a schema and in its definitions; the object itself stays open for schemas that extend it."""
    for value in inner(schema):
        _strict(value)
        if value.keys() & {"$ref", "anyOf"} or value.get("type") == "object":
            value["unevaluatedProperties"] = False
    for definition in schema.get("$defs", {}).values():
        _strict(definition)
    return schema
