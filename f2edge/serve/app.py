"""The application: which address is answered by what."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from f2edge.json_text import json_text
from f2edge.serve import events
from f2edge.serve.chat import Chat, read_chat
from f2edge.serve.completions import Completion, describe, list_models
from f2edge.serve.describing import describe_model, describe_tasks
from f2edge.serve.guards import Guard
from f2edge.serve.logs import GONE, Watch
from f2edge.serve.openapi import document
from f2edge.serve.page_files import Page, page_files
from f2edge.serve.reading import read_json, read_question
from f2edge.serve.refusals import Refusal, draining, refusal_of
from f2edge.serve.service import Service
from f2edge.serve.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from f2edge.model import Florence2
    from f2edge.serve.answering import Answer
    from f2edge.serve.questions import Accepted

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class JSON(Response):
    """A response in JSON; null stands for a number that is not finite."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return json_text(content).encode()


def create_app(model: Florence2, settings: Settings | None = None, *, workers: int = 1) -> Starlette:
    """Return an ASGI application that answers questions with a model.

    Args:
        model: the model; it stays the caller's, who closes it in the end.
        settings: what the server takes, and from whom.
        workers: the workers of the model, which is how many questions are answered at the same time.
    """
    service = Service(model, settings or Settings(), workers)
    app = Starlette(
        routes=_routes(service),
        middleware=[
            Middleware(Watch, journal=service.journal),
            Middleware(Guard, settings=service.settings),
        ],
        exception_handlers={HTTPException: _refused, ClientDisconnect: _gone},
    )
    app.state.service = service
    return app


def _routes(service: Service) -> list[Route]:
    page = Page(page_files())
    get: dict[str, Callable[[Request], Awaitable[Any]]] = {
        "/": page,
        "/page/{name}": page,
        "/health/live": _live,
        "/health/ready": partial(_ready, service),
        "/metrics": partial(_metrics, service),
        "/v1/tasks": _tasks,
        "/v1/model": partial(_model, service),
        "/v1/models": partial(_models, service),
        "/v1/models/{name}": partial(_one_model, service),
        "/openapi.json": partial(_openapi, document(service)),
    }
    post: dict[str, Callable[[Request], Awaitable[Any]]] = {
        "/v1/ask": partial(_ask, service),
        "/v1/stream": partial(_stream, service),
        "/v1/chat/completions": partial(_chat, service),
    }
    return [
        *(Route(path, _named(path, handler), methods=["GET"]) for path, handler in get.items()),
        *(Route(path, _named(path, handler), methods=["POST"]) for path, handler in post.items()),
    ]


def _named(path: str, handler: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[ASGIApp]]:
    """Note the route of each request, for logs and metrics."""

    async def handle(request: Request) -> ASGIApp:
        request.state.route = path
        try:
            value = await handler(request)
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is told, and the log if need be
            return await _refused(request, error)
        return value if callable(value) else JSON(value, headers={"cache-control": "no-store"})

    return handle


async def _ask(service: Service, request: Request) -> dict[str, object]:
    _, accepted = await service.arrive(partial(read_question, request))
    return (await _answered(service, request, accepted)).record()


async def _answered(service: Service, request: Request, accepted: Accepted) -> Answer:
    request.state.task = accepted.wanted.task
    patience = service.patience(accepted.wanted)
    # the tower takes one picture after the other: in a batch, questions about new ones would wait and gain little
    encoded = (accepted, patience) if accepted.image is not None else None
    work = service.room.enter(lambda: service.answering.answer(accepted, patience), encoded)
    answer = await service.attend(request, work, patience)
    request.state.tokens = len(answer.result.token_ids) - 1
    return answer


async def _stream(service: Service, request: Request) -> events.EventStream:
    wanted, accepted = await service.arrive(partial(read_question, request))
    request.state.task = wanted.task
    return await events.stream(service, request, accepted)


async def _chat(service: Service, request: Request) -> dict[str, Any] | events.EventStream:
    chat, accepted = await service.arrive(partial(_read_chat, service, request), lambda chat: chat.wanted)
    completion = Completion(service, chat)
    if chat.stream:
        request.state.task = chat.wanted.task
        return await completion.stream(request, accepted)
    return completion.whole(await _answered(service, request, accepted))


async def _read_chat(service: Service, request: Request) -> Chat:
    value = await read_json(request)
    chat = await asyncio.to_thread(read_chat, value, service.model.bundle.limits.new_tokens)
    describe(service, chat.model)
    return chat


async def _models(service: Service, _: Request) -> dict[str, Any]:
    return list_models(service)


async def _one_model(service: Service, request: Request) -> dict[str, Any]:
    return describe(service, request.path_params["name"])


async def _openapi(value: dict[str, Any], _: Request) -> dict[str, Any]:
    return value


async def _tasks(_: Request) -> list[dict[str, str | bool]]:
    return describe_tasks()


async def _model(service: Service, _: Request) -> dict[str, Any]:
    return describe_model(service)


async def _live(_: Request) -> dict[str, str]:
    return {"status": "live"}


async def _ready(service: Service, _: Request) -> dict[str, str]:
    if service.draining:
        raise draining()
    return {"status": "ready"}


async def _metrics(service: Service, _: Request) -> Response:
    return Response(service.metrics.text(), media_type=METRICS_TYPE)


async def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):  # of the router
        error = Refusal(error.status_code, _CODES.get(error.status_code, "refused"), error.detail, error.headers)
    refusal = refusal_of(error)
    request.state.code = refusal.code
    return refusal.response()


_CODES = {404: "not_found", 405: "method"}


async def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=GONE)
