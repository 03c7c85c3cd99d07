"""What a client is told when its request is refused: a status, a code for programs, and one line for people."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from f2edge.asking.stopped import StoppedError
from f2edge.errors import DeviceError, F2EdgeError, ImageError, InputError, LimitError, TaskError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOGGER = logging.getLogger(__name__)

_SERVER_FAULT = 500
_RETRY_AFTER = {"retry-after": "5"}


class Refusal(Exception):  # noqa: N818 - a request is refused; that is no error of the server
    """A request that is not answered.

    Args:
        status: the status of HTTP.
        code: the reason as one word, for programs.
        message: the reason in one line.
        headers: further headers of the response.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return the body of the response: clients of OpenAI read ``type`` and ``param``, too."""
        kind = "server_error" if self.status >= _SERVER_FAULT else "invalid_request_error"
        return {"error": {"code": self.code, "message": self.message, "type": kind, "param": None}}

    def response(self) -> JSONResponse:
        """Return the response."""
        return JSONResponse(self.body(), self.status, self.headers)


_KINDS: tuple[tuple[type[F2EdgeError], int, str], ...] = (
    (ImageError, 400, "bad_image"),
    (TaskError, 400, "bad_question"),
    (LimitError, 400, "limit"),
    (InputError, 400, "bad_question"),
    (StoppedError, 504, "timeout"),
)


def refusal_of(error: Exception) -> Refusal:
    """Return what a client is told of an error, a refusal as it is; what is the server's own fault goes to its log."""
    if isinstance(error, Refusal):
        return error
    for kind, status, code in _KINDS:
        if isinstance(error, kind):
            return Refusal(status, code, str(error).replace("`", ""))
    _LOGGER.error("a question was not answered", exc_info=error)
    if isinstance(error, MemoryError):
        return Refusal(503, "memory", "the server is out of memory; try again later", _RETRY_AFTER)
    if isinstance(error, DeviceError):
        return Refusal(500, "device", "the engine failed; the log of the server says why")
    return Refusal(500, "internal", "the server failed; its log says why")


def bad_request(message: str, code: str = "bad_request") -> Refusal:
    """Return the refusal of a request that is wrong in itself."""
    return Refusal(400, code, message)


def crowded() -> Refusal:
    """Return the refusal of a server that has as many connections as it takes."""
    return Refusal(503, "connections", "the server has as many connections as it takes; try again later", _RETRY_AFTER)


def draining() -> Refusal:
    """Return the refusal of a server that is about to end."""
    return Refusal(503, "draining", "the server is about to end and takes nothing new", _RETRY_AFTER)
