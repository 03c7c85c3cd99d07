"""Read the question of a request, from a form or from JSON."""

from __future__ import annotations

import base64
import binascii
import json
import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import python_multipart  # noqa: F401 - starlette reads forms with it, and imports without it
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from f2edge.lines import shown
from f2edge.serve.beside import beside
from f2edge.serve.questions import Wanted
from f2edge.serve.refusals import Refusal, bad_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

_FIELDS = tuple(field.name for field in fields(Wanted))
_MOST_VALUES = 20_000
_MOST_PARTS = 1000
_LONGEST_PART = 2**20
_REGION_NUMBERS = 4


class _InMemory(MultiPartParser):
    """Keeps files in memory, whatever their size: the body is bounded, and no picture is ever written to disk."""

    spool_max_size = max_file_size = 2**40  # of later and of earlier versions of starlette


async def read_question(request: Request) -> Wanted:
    """Return what a request asks.

    Raises:
        Refusal: it is no form and no JSON, or has fields that are not known, or of another kind.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _from_form(request)
    value = await read_json(request)
    image = value.get("image")
    return await beside(len(image) if isinstance(image, str) else 0, lambda: _wanted(value))


async def read_json(request: Request) -> dict[str, Any]:
    """Return the JSON object that is the body of a request.

    Raises:
        Refusal: it is none, or has far more values than a question.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, "content_type", "send application/json or multipart/form-data")
    body = await request.body()
    return await beside(len(body), lambda: _parsed(body))


def _parsed(body: bytes) -> dict[str, Any]:
    # A few million empty lists are some bytes each in JSON, and a hundred in memory.
    if sum(body.count(sign) for sign in (b",", b"[", b"{", b":")) > _MOST_VALUES:
        raise bad_request(f"the JSON has more than {_MOST_VALUES:,} values")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise bad_request("the body is not JSON") from error
    if not isinstance(value, dict):
        raise bad_request("the body is not a JSON object")
    return value


def _wanted(value: dict[str, Any]) -> Wanted:
    _refuse_unknown(value)
    if value.get("image") is not None:
        value = {**value, "image": decode_picture(value["image"])}
    if "task" not in value:
        raise bad_request("the field task is missing; GET /v1/tasks lists the tasks")
    return Wanted(**value)


def decode_picture(text: object) -> bytes:
    """Return the bytes of a picture in base64, with or without the beginning of a data URI.

    Raises:
        Refusal: it is no base64, or a URI of another kind: no address is ever fetched.
    """
    if not isinstance(text, str):
        raise bad_request(f"image is {shown(text)}; send base64 or a data URI", "bad_image")
    head, comma, tail = text.partition(",")
    if not comma and ":" not in head:
        return _decoded(text)
    scheme, _, kind = head.partition(":")
    if scheme.lower() != "data" or not kind.lower().endswith(";base64"):
        raise bad_request(
            "a picture is sent as base64 or as a data URI with base64; no address is fetched", "bad_image"
        )
    return _decoded(tail)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise bad_request("the picture is not valid base64", "bad_image") from error


async def _from_form(request: Request) -> Wanted:
    parser = _InMemory(
        request.headers, request.stream(), max_files=1, max_fields=_MOST_PARTS, max_part_size=_LONGEST_PART
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise bad_request(f"the form cannot be read: {error.message}") from error
    try:
        return await _from_fields(form)
    finally:
        await form.close()


async def _from_fields(form: FormData) -> Wanted:
    _refuse_unknown(form)
    values: dict[str, Any] = {}
    for name in form:
        parts = form.getlist(name)
        if name != "labels" and len(parts) > 1:
            raise bad_request(f"the field {name} comes {len(parts)} times")
        values[name] = await _value(name, parts)
    if "task" not in values:
        raise bad_request("the field task is missing; GET /v1/tasks lists the tasks")
    return Wanted(**values)


async def _value(name: str, parts: list[UploadFile | str]) -> Any:
    first = parts[0]
    if name == "image":
        return await first.read() if isinstance(first, UploadFile) else decode_picture(first)
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) < len(parts):
        raise bad_request(f"the field {name} is a file; send it as text")
    if name == "labels":
        return texts
    return _PARSERS[name](name, texts[0]) if name in _PARSERS else texts[0]


def _refuse_unknown(value: FormData | dict[str, Any]) -> None:
    if unknown := [name for name in value if name not in _FIELDS]:
        raise bad_request(f"unknown field {shown(unknown[0])}; known are {', '.join(_FIELDS)}")


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise bad_request(f"{name} is {shown(text)}; it must be a whole number") from None


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise bad_request(f"{name} is {shown(text)}; it must be a number")
    return number


def _truth(name: str, text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise bad_request(f"{name} is {shown(text)}; it must be true or false")
    return text.lower() == "true"


def parse_region(name: str, text: str) -> tuple[float, ...]:
    """Parse x1,y1,x2,y2.

    Raises:
        Refusal: it is something else.
    """
    numbers = tuple(_number(name, number) for number in text.split(",", _REGION_NUMBERS))
    if len(numbers) != _REGION_NUMBERS:
        raise bad_request(f"{name} is {shown(text)}; it must be x1,y1,x2,y2 in pixels")
    return numbers


_PARSERS: dict[str, Callable[[str, str], Any]] = {
    "num_beams": _whole,
    "max_new_tokens": _whole,
    "tile": _whole,
    "timeout": _number,
    "structured": _truth,
    "region": parse_region,
}
