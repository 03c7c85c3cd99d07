"""One line of JSON and one entry in the metrics for each request; nothing of pictures, texts or tokens."""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from f2edge.serve.metrics import Metrics

GONE = 499
"""The status in logs and metrics of a request whose client had gone before the answer; nginx uses the same."""

_LONGEST_PATH = 200
_NO_ROUTE = "other"


class Journal:
    """Notes requests that are over.

    Args:
        metrics: what counts them.
        json_logs: whether each is a line of JSON on stderr.
    """

    def __init__(self, metrics: Metrics, *, json_logs: bool) -> None:
        self._metrics, self._json_logs = metrics, json_logs

    def note(self, scope: Scope, status: int, seconds: float | None = None) -> None:
        """Count a request, and write its line.

        Args:
            scope: ``method``, ``path``, ``client`` and ``state``, in which handlers have noted the route and more.
            status: the status of its response.
            seconds: how long it took; None if it was refused before it was read.
        """
        route = scope["state"].get("route", _NO_ROUTE)
        self._metrics.requested(route, status, seconds)
        if "code" in scope["state"]:
            self._metrics.refused(scope["state"]["code"])
        if self._json_logs:
            sys.stderr.write(json.dumps(_line(scope, status, seconds)) + "\n")
            sys.stderr.flush()


class Watch:
    """Middleware that notes each request once it is over.

    Args:
        app: the application behind it.
        journal: where requests are noted.
    """

    def __init__(self, app: ASGIApp, journal: Journal) -> None:
        self._app, self._journal = app, journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, and note how it ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        watched, started = _Watched(send), time.perf_counter()
        scope.setdefault("state", {})
        try:
            await self._app(scope, receive, watched)
        finally:
            self._journal.note(scope, watched.status if watched.ended else GONE, time.perf_counter() - started)


class _Watched:
    """Sends a response, and keeps its status and whether it ended."""

    def __init__(self, send: Send) -> None:
        self._send, self.status, self.ended = send, GONE, False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)
        self.ended = message["type"] == "http.response.body" and not message.get("more_body", False)


def _line(scope: Scope, status: int, seconds: float | None) -> dict[str, Any]:
    noted = {name: scope["state"][name] for name in ("code", "task", "tokens") if name in scope["state"]}
    client = scope.get("client")
    return {
        "time": dt.datetime.now(dt.timezone.utc).isoformat(timespec="milliseconds"),
        "client": client[0] if client else None,
        "method": scope["method"],
        "path": scope["path"][:_LONGEST_PATH],
        "status": status,
        "ms": None if seconds is None else round(seconds * 1e3, 1),
        **noted,
    }
