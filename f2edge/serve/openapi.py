"""The OpenAPI document of a server."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeAlias

from f2edge import __version__
from f2edge.tasks.table import TASKS, short_name

if TYPE_CHECKING:
    from f2edge.serve.service import Service

Schema: TypeAlias = "dict[str, Any]"

_JSON = "application/json"
_TASKS = list(map(short_name, TASKS))

_FIELDS: Schema = {
    "image_id": {"type": "string", "description": "A picture that was sent before, in place of image."},
    "task": {"type": "string", "examples": _TASKS, "description": "Name of the task; empty for a free prompt."},
    "text": {"type": "string", "description": "Text input of the task: a caption, a phrase or a prompt."},
    "labels": {"type": "array", "items": {"type": "string"}, "description": "The labels that may come."},
    "region": {
        "type": "array",
        "items": {"type": "number"},
        "minItems": 4,
        "maxItems": 4,
        "description": "x1, y1, x2, y2 in pixels of the picture.",
    },
    "num_beams": {"type": "integer", "minimum": 1, "description": "Beams of the search."},
    "max_new_tokens": {"type": "integer", "minimum": 1, "description": "Length of the longest answer in tokens."},
    "structured": {"type": "boolean", "description": "Hold the answer to the structure of its task."},
    "tile": {"type": "integer", "minimum": 16, "description": "Side of the tiles to ask about, too, in pixels."},
    "timeout": {"type": "number", "exclusiveMinimum": 0, "description": "Seconds until the answer is stopped."},
}
_BASE64: Schema = {"type": "string", "description": "The picture in base64, or as a data URI."}
_FILE: Schema = {"type": "string", "contentMediaType": "application/octet-stream", "description": "The picture file."}
_REGION_TEXT: Schema = {"type": "string", "description": "x1,y1,x2,y2 in pixels of the picture."}

_REFUSALS = {
    "400": "The question or the picture is wrong.",
    "401": "The token is missing or wrong.",
    "403": "The Host header or the Origin header is not one of this server.",
    "404": "There is no such address, model, or kept picture.",
    "408": "The request arrived too slowly.",
    "413": "The body is too large.",
    "415": "The body is of a type that is not read.",
    "429": "The queue is full; Retry-After says when to ask again.",
    "500": "The server failed.",
    "503": "The server is about to end.",
    "504": "The answer took too long.",
}


def document(service: Service) -> dict[str, Any]:
    """Return the document for one server."""
    secured = service.settings.token is not None
    return {
        "openapi": "3.1.0",
        "info": {"title": "f2edge", "version": __version__, "description": "Answers of Florence-2 about pictures."},
        "paths": _paths(),
        "components": {"schemas": _schemas(), **({"securitySchemes": _BEARER} if secured else {})},
        **({"security": [{"token": []}]} if secured else {}),
    }


_BEARER = {"token": {"type": "http", "scheme": "bearer"}}


def _paths() -> dict[str, Any]:
    question = {"content": _question()}
    chat = {"content": {_JSON: {"schema": _reference("chat")}}}
    return {
        "/v1/ask": {"post": _operation("Ask a question about a picture.", _reference("record"), question)},
        "/v1/stream": {"post": _operation("The same, as events.", None, question, kind="text/event-stream")},
        "/v1/tasks": {"get": _operation("The tasks.", {"type": "array", "items": {"type": "object"}})},
        "/v1/model": {"get": _operation("The model, and what the server takes.", {"type": "object"})},
        "/v1/chat/completions": {"post": _operation("A question in OpenAI's form.", {"type": "object"}, chat)},
        "/v1/models": {"get": _operation("The model in OpenAI's form.", {"type": "object"})},
        "/v1/models/{name}": {"get": {**_operation("One model.", {"type": "object"}), "parameters": [_NAME]}},
        "/metrics": {"get": _operation("Metrics for Prometheus.", None, kind="text/plain")},
        "/health/live": {"get": _operation("The server runs.", {"type": "object"}, open_to_all=True)},
        "/health/ready": {"get": _operation("The server takes questions.", {"type": "object"}, open_to_all=True)},
        "/openapi.json": {"get": _operation("This document.", {"type": "object"})},
    }


_NAME: Schema = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}


def _operation(
    summary: str, answer: Schema | None, body: Schema | None = None, *, kind: str = _JSON, open_to_all: bool = False
) -> dict[str, Any]:
    schema = answer or {"type": "string"}
    refused = {
        status: {"description": text, "content": {_JSON: {"schema": _reference("error")}}}
        for status, text in _REFUSALS.items()
    }
    return {
        "summary": summary,
        **({"requestBody": {"required": True, **body}} if body else {}),
        "responses": {"200": {"description": "The answer.", "content": {kind: {"schema": schema}}}, **refused},
        **({"security": []} if open_to_all else {}),
    }


def _question() -> dict[str, Any]:
    form = {**_FIELDS, "image": _FILE, "region": _REGION_TEXT}
    return {
        "multipart/form-data": {"schema": {"type": "object", "required": ["task"], "properties": form}},
        _JSON: {"schema": {"type": "object", "required": ["task"], "properties": {**_FIELDS, "image": _BASE64}}},
    }


def _schemas() -> dict[str, Any]:
    """Return the schemas by name: that of ``f2edge run --json``, and what the server adds."""
    schema = json.loads((files("f2edge") / "schemas" / "run.schema.json").read_text("utf-8"))
    added = {
        "image_id": {"type": "string", "description": "Names the picture in further questions."},
        "image_size": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
    }
    record = {"allOf": [_reference("result")], "required": list(added), "properties": added}
    error = {"code": {"type": "string"}, "message": {"type": "string"}}
    return {
        **_moved(schema["$defs"]),
        "record": record,
        "error": {"type": "object", "properties": {"error": {"type": "object", "properties": error}}},
        "chat": {"type": "object", "required": ["messages"], "properties": {"messages": {"type": "array"}}},
    }


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _moved(schema: Any) -> Any:
    """Return a schema whose references lead to the components of the document."""
    if isinstance(schema, list):
        return [_moved(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: value.replace("#/$defs/", "#/components/schemas/") if key == "$ref" else _moved(value)
        for key, value in schema.items()
    }
