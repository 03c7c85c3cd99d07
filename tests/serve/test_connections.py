"""Connections of clients that are slow, send no HTTP, or send too much of it."""

from __future__ import annotations

import base64
import json
import socket
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from f2edge.serve.settings import Settings
from tests.support.serving import PATIENCE, Live, ask, eventually, picture, serving

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


def live_on(connection: socket.socket) -> bytes:
    """Ask on a connection whether the server lives."""
    connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return read_one(connection)


def test_more_connections_than_the_server_takes(model: Florence2) -> None:
    """Further ones are told when to come again, those that are there are answered, and who has asked nothing waits."""
    with serving(model, Settings(port=0, connections=2)) as live, connect(live) as silent:
        with connect(live) as first, connect(live) as second:
            assert b" 200 " in live_on(first)
            assert b" 200 " in live_on(second)
            for further in (silent, connect(live)):
                with further:
                    answer = live_on(further)
                assert refusal(answer) == (503, "connections")
                assert b"\r\nretry-after: 5\r\n" in answer.lower()
            assert b" 200 " in live_on(first)
        assert b'f2edge_refusals_total{code="connections"} 2.0' in live.service.metrics.text()
        assert eventually(lambda: httpx.get(f"{live.url}/health/live").status_code == 200)


def question(length: int = 0) -> bytes:
    """Return the body of a question, padded to a length."""
    image = base64.b64encode(picture()).decode()
    return json.dumps({"task": "caption", "max_new_tokens": 2, "image": image}).encode().ljust(length)


@pytest.mark.parametrize("length", [0, 200_000])
def test_a_body_in_small_pieces(length: int, model: Florence2) -> None:
    """It is read as one in a whole, and so is the request behind it, whose beginning comes with its end."""
    body = question(length)
    request = HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    second = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with serving(model) as live, connect(live) as connection:
        for start in range(0, len(request) - 5, max(1, len(request) // 50)):
            connection.sendall(request[start : min(start + len(request) // 50, len(request) - 5)])
            time.sleep(0.001)
        connection.sendall(request[-5:] + second[:9])
        connection.sendall(second[9:])
        answer = read(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"task": "<CAPTION>"' in answer
    assert answer.endswith(b'{"status": "live"}')


def test_the_rest_of_a_body_that_was_refused(model: Florence2) -> None:
    """The next request on the connection is answered."""
    body = question(100_000)
    head = b"POST /v1/nothing HTTP/1.1\r\nHost: localhost\r\n" + f"Content-Length: {len(body)}\r\n\r\n".encode()
    with serving(model) as live, connect(live) as connection:
        connection.sendall(head + body[:10])
        assert refusal(read_one(connection)) == (404, "not_found")
        connection.sendall(body[10:50_000])
        time.sleep(0.01)
        connection.sendall(body[50_000:])
        assert b" 200 " in live_on(connection)
