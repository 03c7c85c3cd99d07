"""Connections of clients that are slow, send no HTTP, or send too much of it."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from f2edge.serve.settings import Settings
from tests.support.serving import PATIENCE, Live, ask, eventually, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from f2edge.model import Florence2

HEAD = b"POST /v1/ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def live(model: Florence2) -> Iterator[Live]:
    """Return a server with little patience."""
    with serving(model, Settings(port=0, header_seconds=0.4, body_seconds=0.4)) as live:
        yield live


def connect(live: Live) -> socket.socket:
    """Open a connection."""
    return socket.create_connection(("127.0.0.1", live.port), PATIENCE)


def read(connection: socket.socket) -> bytes:
    """Return all that a server sends until it closes the connection."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def read_one(connection: socket.socket) -> bytes:
    """Return one response, whether or not the connection stays open."""
    answer = b""
    while (b"\r\n\r\n" not in answer or not answer.endswith(b"}")) and (part := connection.recv(65536)):
        answer += part
    return answer


def refusal(answer: bytes) -> tuple[int, Any]:
    """Return the status of a response, and the code of its refusal."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


def test_a_client_that_sends_nothing(live: Live) -> None:
    """Its connection is closed."""
    with connect(live) as connection:
        assert read(connection) == b""


def test_headers_that_never_end(live: Live) -> None:
    """A slow loris: every byte comes in time, the last one never does."""
    with connect(live) as connection:
        connection.sendall(HEAD[:9])
        connection.settimeout(0.05)
        answer = b""
        for byte in HEAD[9:]:
            connection.sendall(bytes([byte]))
            try:
                answer = read_one(connection)
                break
            except TimeoutError:
                continue
    assert refusal(answer) == (408, "slow")


def test_a_second_request_that_never_ends(live: Live) -> None:
    """The patience begins anew with each request of a connection."""
    with connect(live) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.sendall(b"GET ")
        answer = read(connection)
    assert b'{"status": "live"}' in answer
    assert refusal(answer[answer.index(b"HTTP/1.1 4") :]) == (408, "slow")


def test_a_body_that_never_ends(live: Live) -> None:
    """Its place in the queue is free again."""
    with connect(live) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
        answer = read_one(connection)
    assert refusal(answer) == (408, "slow")
    assert eventually(lambda: live.service.room.arriving == 0)


def test_headers_that_are_too_long(live: Live) -> None:
    """One of a megabyte, or many; the client can read its refusal though it goes on to send."""
    for flood in (b"X: " + b"a" * 2**20, b"X-Header: 1\r\n" * 50_000):
        with connect(live) as connection:
            connection.sendall(HEAD + flood)
            assert refusal(read(connection)) == (431, "headers")


def test_a_body_that_is_no_http(live: Live) -> None:
    """A chunk without a length; the place in the queue is free again."""
    with connect(live) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        connection.sendall(b"no chunk\r\n")
        assert refusal(read(connection)) == (400, "bad_request")
    assert eventually(lambda: live.service.room.arriving == 0)


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
    ],
    ids=["words", "TLS", "no host", "length"],
)
def test_what_is_no_http(sent: bytes, live: Live) -> None:
    """Status 400, in the form of all refusals."""
    with connect(live) as connection:
        connection.sendall(sent)
        assert refusal(read(connection)) == (400, "bad_request")


def test_a_long_body_in_pieces(model: Florence2) -> None:
    """A body without a length is counted; the client reads its refusal though it still sends."""
    with serving(model, Settings(port=0, body_bytes=100_000)) as live, connect(live) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(30):
            connection.sendall(b"4000\r\n" + bytes(0x4000) + b"\r\n")
        assert refusal(read_one(connection)) == (413, "too_large")


def test_others_are_answered_meanwhile(live: Live) -> None:
    """Fifty connections that send nothing keep no one from the server."""
    idle = [connect(live) for _ in range(50)]
    assert ask(live).status_code == 200
    for connection in idle:
        connection.close()
