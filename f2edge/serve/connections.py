"""Connections of HTTP that give a client a bounded time and a bounded room for the headers of a request.

uvicorn bounds the time between two requests only, and answers what is no HTTP in plain text.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from f2edge.serve.refusals import Refusal, bad_request

if TYPE_CHECKING:
    import asyncio

HEADER_BYTES = 16 * 1024
"""Bytes of the longest headers of a request, all together."""

_TOO_LONG = 431
_LINGER_SECONDS = 2.0


class Connection(H11Protocol):
    """A connection whose client is waited for ``header_seconds`` at the beginning of each request."""

    header_seconds = 10.0
    _timer: asyncio.TimerHandle | None = None
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        """Read what has come; what follows a refusal is thrown away."""
        if not self._refused:
            super().data_received(data)
            self._wait_for_headers()

    def on_response_complete(self) -> None:
        """Wait for the rest of the next request, if its beginning came with this one."""
        super().on_response_complete()
        if self.conn.trailing_data[0]:
            self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """End to wait."""
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; uvicorn calls this while it handles the error of h11."""
        error = sys.exc_info()[1]
        if getattr(error, "error_status_hint", None) == _TOO_LONG:
            self._refuse(Refusal(_TOO_LONG, "headers", f"the headers are longer than {HEADER_BYTES // 1024} KiB"))
        else:
            self._refuse(bad_request(msg.removesuffix(".").lower()))

    def _wait_for_headers(self) -> None:
        """Wait for the headers of a request, unless one is being answered.

        What is left of the body of a request that was refused early counts as waiting, too.
        """
        if self._refused:
            return
        if self._in_progress():
            self._stop_waiting()
        elif self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(self.header_seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        """Close the connection; a client that has begun a request is told why."""
        self._timer = None
        if self.transport.is_closing():
            return
        if self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]:
            self._refuse(Refusal(408, "slow", f"the headers did not arrive within {self.header_seconds:g} s"))
        else:
            self.transport.close()

    def _refuse(self, refusal: Refusal) -> None:
        """Send a refusal and close the connection, but let the client read it first.

        A connection that is closed while its client still sends is reset, and the client would never see the refusal.
        """
        self._stop_waiting()
        if self._in_progress():  # the body is no HTTP; whoever reads it learns that there is no more
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.close()
            return
        self._refused = True
        self.transport.write(_response(self.conn, refusal))
        self.transport.write_eof()
        self._timer = self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

    def _in_progress(self) -> bool:
        """Tell whether a request is read or answered."""
        return self.cycle is not None and not self.cycle.response_complete


def _response(connection: h11.Connection, refusal: Refusal) -> bytes:
    body = json.dumps(refusal.body()).encode()
    headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
    parts = (h11.Response(status_code=refusal.status, headers=headers), h11.Data(data=body), h11.EndOfMessage())
    return b"".join(connection.send(part) or b"" for part in parts)
