"""Answers in the form of OpenAI's chat completions, whole or in chunks."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from f2edge.json_text import json_text
from f2edge.serve.answering import Answer
from f2edge.serve.describing import model_name
from f2edge.serve.events import EventStream, parts
from f2edge.serve.refusals import Refusal, refusal_of
from f2edge.tasks.table import resolve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from f2edge.serve.chat import Chat
    from f2edge.serve.questions import Accepted
    from f2edge.serve.service import Service

_DONE = b"data: [DONE]\n\n"


def list_models(service: Service) -> dict[str, Any]:
    """Return the one model of the server, as OpenAI lists models."""
    return {"object": "list", "data": [describe(service)]}


def describe(service: Service, name: str | None = None) -> dict[str, Any]:
    """Return the model of the server, as OpenAI describes one.

    Raises:
        Refusal: it has another name.
    """
    known = model_name(service)
    if name not in {None, known}:
        raise Refusal(404, "model_not_found", f"there is no model of this name; this server has {known}")
    return {"id": known, "object": "model", "created": service.started, "owned_by": "f2edge"}


@dataclass(frozen=True)
class Completion:
    """One completion.

    Args:
        service: the server.
        chat: what is asked.
    """

    service: Service
    chat: Chat
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, answer: Answer) -> dict[str, Any]:
        """Return the whole answer; ``f2edge`` has the record of /v1/ask."""
        message = {"role": "assistant", "content": content(answer), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(answer)}
        return {
            **self._head("chat.completion"),
            "choices": [choice],
            "usage": self._usage(answer),
            "f2edge": answer.record(),
        }

    async def stream(self, request: Request, accepted: Accepted) -> EventStream:
        """Return the answer in chunks: the pieces of a text, or all that was located in one."""
        chunks = self._chunks(request, accepted)
        return EventStream(await anext(chunks), chunks, _failed)

    async def _chunks(self, request: Request, accepted: Accepted) -> AsyncIterator[bytes]:
        answer, text = None, Stripped()
        async for part in parts(self.service, request, accepted):
            if isinstance(part, Answer):
                answer = part
            elif not isinstance(part, str):
                continue
            elif piece := text.strip(part):
                yield self._chunk({"role": "assistant", "content": piece})
        assert answer is not None
        if not text.begun:
            yield self._chunk({"role": "assistant", "content": content(answer)})
        yield self._chunk({}, _reason(answer), f2edge=answer.record())
        if self.chat.include_usage:
            chunk = {**self._head("chat.completion.chunk"), "choices": [], "usage": self._usage(answer)}
            yield _data(chunk)
        yield _DONE

    def _chunk(self, delta: dict[str, str], reason: str | None = None, **more: object) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _data({**self._head("chat.completion.chunk"), "choices": [choice], **more})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": model_name(self.service)}

    def _usage(self, answer: Answer) -> dict[str, int]:
        """Return the numbers of tokens: those of the picture and of the prompt, and those of the answer."""
        asked = self.service.model.bundle.geometry.num_image_tokens + answer.prompt_tokens
        answered = len(answer.result.token_ids) - 1
        return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}


class Stripped:
    """Takes the blanks from the beginning and the end of a text that comes in pieces."""

    def __init__(self) -> None:
        self.begun, self._blanks = False, ""

    def strip(self, piece: str) -> str:
        """Return what is certain of the text so far and was not returned yet."""
        text = self._blanks + piece
        if not self.begun:
            text = text.lstrip()
        kept = text.rstrip()
        self._blanks = text[len(kept) :]
        self.begun = self.begun or bool(kept)
        return kept


def content(answer: Answer) -> str:
    """Return an answer as the content of a message: its text, or as JSON what was located."""
    located = resolve(answer.result.task).locates
    return json_text(answer.record()["result"]) if located else answer.result.plain_text


def _reason(answer: Answer) -> str:
    return "length" if answer.result.truncated else "stop"


def _data(value: dict[str, Any]) -> bytes:
    return f"data: {json_text(value)}\n\n".encode()


def _failed(error: Exception) -> bytes:
    return _data(refusal_of(error).body())
