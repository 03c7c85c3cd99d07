"""Server-sent events: the parts of an answer as soon as they are decided."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import ClientDisconnect

from f2edge.asking.objects import Detection
from f2edge.json_text import json_text
from f2edge.result import plain
from f2edge.serve.answering import Answer, Encoded
from f2edge.serve.refusals import refusal_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from f2edge.serve.questions import Accepted
    from f2edge.serve.service import Service

T = TypeVar("T")
_FORMS = ("box", "quad", "polygons")


async def parts(
    service: Service, request: Request, accepted: Accepted
) -> AsyncIterator[Encoded | Detection | str | Answer]:
    """Yield the parts of an answer, the whole last.

    Raises:
        Refusal: there is no place, or as for :meth:`Answering.answer`.
        InputError: the question is wrong.
        ClientDisconnect: the client has gone.
    """
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[Any]()
    patience = service.patience(accepted.wanted)

    def tell(part: object) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, part)

    work = service.room.enter(lambda: service.answering.follow(accepted, patience, tell))
    whole = asyncio.ensure_future(service.attend(request, work, patience))
    whole.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (part := await queue.get()) is not None:
            yield part
        yield await whole
    finally:
        whole.cancel()


class EventStream:
    """A response that sends events until they end; an error after the first one is the last event.

    Args:
        first: the first event, which has been waited for, so that an error before it has a status of its own.
        rest: the others.
        failed: makes an event of an error.
    """

    def __init__(self, first: bytes, rest: AsyncIterator[bytes], failed: Callable[[Exception], bytes]) -> None:
        self._first, self._rest, self._failed = first, rest, failed

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the response."""
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await _send(send, self._first)
        try:
            async for event in self._rest:
                await _send(send, event)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the client waits for the end
            await _send(send, self._failed(error))
        finally:
            await self._rest.aclose()  # type: ignore[attr-defined]
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send(send: Send, event: bytes) -> None:
    await send({"type": "http.response.body", "body": event, "more_body": True})


async def stream(service: Service, request: Request, accepted: Accepted) -> EventStream:
    """Return the answer to a question as events."""
    events = _events(service, request, accepted)
    return EventStream(await anext(events), events, _failed)


async def _events(service: Service, request: Request, accepted: Accepted) -> AsyncIterator[bytes]:
    async for part in parts(service, request, accepted):
        yield event(*_described(part))


def _described(part: Encoded | Detection | str | Answer) -> tuple[str, dict[str, Any]]:
    if isinstance(part, Encoded):
        return "image", {"image_id": part.image_id, "image_size": list(part.image_size)}
    if isinstance(part, str):
        return "text", {"text": part}
    if isinstance(part, Detection):
        return "object", describe(part)
    return "answer", part.record()


def describe(found: Detection) -> dict[str, Any]:
    """Return an object as JSON has it: label, confidence, and a box, a quad or polygons."""
    places = {form: place for form in _FORMS if (place := getattr(found, form)) is not None}
    value: dict[str, Any] = plain({"label": found.label, "confidence": found.confidence, **places})
    return value


def _failed(error: Exception) -> bytes:
    return event("error", refusal_of(error).body())


def event(name: str, data: dict[str, Any]) -> bytes:
    """Return one event as it is sent."""
    return f"event: {name}\ndata: {json_text(data)}\n\n".encode()
