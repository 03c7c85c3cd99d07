"""Connections of HTTP: so many at a time, with a bounded time and a bounded room for the headers of a request.

uvicorn bounds the time between two requests only, answers what is no HTTP in plain text, and so it does once there are
too many connections, also on those that were there before.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from f2edge.serve.refusals import Refusal, bad_request, crowded

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

HEADER_BYTES = 16 * 1024
"""Bytes of the longest headers of a request, all together."""

_TOO_LONG = 431
_LINGER_SECONDS = 2.0
_PIECE = 64 * 1024
"""Bytes of a body that are read together: clients send forms in many small pieces, and each takes time."""


class Door:
    """What the connections of one server share: who is inside, and how they are refused.

    Args:
        most: connections that may ask at the same time; one counts from its first byte until it is closed.
        header_seconds: how long each is waited for at the beginning of a request.
        overload: returns the refusal of a request by its first bytes and its client, or None; it notes it.
        refused: is told the code of each other refusal.
    """

    def __init__(
        self,
        most: int,
        header_seconds: float,
        overload: Callable[[bytes, tuple[str, int] | None], Refusal | None],
        refused: Callable[[str], None],
    ) -> None:
        self.most, self.header_seconds, self.overload, self.refused = most, header_seconds, overload, refused
        self.inside: set[Connection] = set()

    def enter(self, connection: Connection) -> bool:
        """Tell whether a connection may ask: it did before, or there is room for one more."""
        if connection not in self.inside and len(self.inside) >= self.most:
            return False
        self.inside.add(connection)
        return True


class Connection(H11Protocol):
    """A connection whose client is waited for a bounded time at the beginning of each request.

    Args:
        arguments: those of uvicorn's own.
        door: what it shares with the other connections.
    """

    def __init__(self, *arguments: Any, door: Door, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._door = door
        self._timer: asyncio.TimerHandle | None = None
        self._refused = False
        self._to_come = 0  # bytes of the body
        self._held = bytearray()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        """Read what has come; what follows a refusal is thrown away."""
        if self._refused:
            return
        if not self._door.enter(self):
            self._refuse(crowded())
            return
        if self._is_idle() and (refusal := self._door.overload(data, self.client)):
            self._close_with(refusal, self._door.header_seconds)  # most clients send their body before they read
            return
        if piece := self._piece(data):
            self._read(piece)
        self._wait_for_headers()

    def _piece(self, data: bytes) -> bytes:
        """Return what has come of a body once that is worth it, or all of it is there."""
        self._held += data
        if self._in_progress() and len(self._held) < min(self._to_come, _PIECE):
            return b""
        piece, self._held = bytes(self._held), bytearray()
        return piece

    def _read(self, piece: bytes) -> None:
        before, self._to_come = self.cycle, max(0, self._to_come - len(piece))
        super().data_received(piece)
        if self.cycle is not before and self._in_progress():  # its application has not run yet
            self._to_come = _content_length(self.headers) - len(self.cycle.body)

    def on_response_complete(self) -> None:
        """Wait for the rest of the next request, if its beginning came with this one."""
        super().on_response_complete()
        if self.conn.trailing_data[0]:
            self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """End to wait, and make room for another one."""
        self._stop_waiting()
        self._door.inside.discard(self)
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
            self._timer = self.loop.call_later(self._door.header_seconds, self._give_up)

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
            self._refuse(Refusal(408, "slow", f"the headers did not arrive within {self._door.header_seconds:g} s"))
        else:
            self.transport.close()

    def _refuse(self, refusal: Refusal) -> None:
        """Close the connection with a refusal, and count it."""
        if self._close_with(refusal):
            self._door.refused(refusal.code)

    def _close_with(self, refusal: Refusal, seconds: float = _LINGER_SECONDS) -> bool:
        """Send a refusal and close the connection, but let the client read it first.

        A connection that is closed while its client still sends is reset, and the client would never see the refusal.

        Args:
            refusal: what the client is told.
            seconds: how long the client may take to close the connection.

        Returns:
            Whether it was sent: nothing can be in the middle of an answer.
        """
        self._stop_waiting()
        if self._in_progress():  # the body is no HTTP; whoever reads it learns that there is no more
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.close()
            return False
        self._refused = True
        self.transport.write(_response(self.conn, refusal))
        self.transport.write_eof()
        self._unset_keepalive_if_required()  # or uvicorn closes a connection that was idle, in the middle of this
        self._timer = self.loop.call_later(seconds, self.transport.abort)
        return True

    def _is_idle(self) -> bool:
        """Tell whether what comes now is the beginning of a request."""
        begins = self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        return begins and not self._held and not self._in_progress()

    def _in_progress(self) -> bool:
        """Tell whether a request is read or answered."""
        return self.cycle is not None and not self.cycle.response_complete


def _content_length(headers: list[tuple[bytes, bytes]]) -> int:
    """Return the length of a body; 0 if it is not known, or if there is none."""
    values = dict(headers)
    return 0 if b"transfer-encoding" in values else int(values.get(b"content-length", 0))


def _response(connection: h11.Connection, refusal: Refusal) -> bytes:
    body = json.dumps(refusal.body()).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
    headers["x-content-type-options"] = "nosniff"
    head = [*headers.items(), *refusal.headers.items()]
    parts = (h11.Response(status_code=refusal.status, headers=head), h11.Data(data=body), h11.EndOfMessage())
    return b"".join(connection.send(part) or b"" for part in parts)
