"""Many clients, clients that go, and answers that take too long."""

from __future__ import annotations

import base64
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from f2edge.serve.settings import Settings
from tests.serve.test_app import untimed
from tests.serve.test_connections import connect, live_on, read_one
from tests.support.serving import PATIENCE, Live, ask, eventually, gated, picture, serving

if TYPE_CHECKING:
    from f2edge.model import Florence2


def test_a_hundred_clients_at_once(model: Florence2) -> None:
    """With one worker and a queue of eight: nine or more get the right answer, the others are told to come again."""
    expected = {seed: untimed(model.run(picture(seed), "caption", max_new_tokens=4).to_json()) for seed in range(4)}
    with serving(model, Settings(port=0, queue=8)) as live, ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda n: (n % 4, ask(live, picture(n % 4))), range(100)))
    served = [(seed, answer) for seed, answer in answers if answer.status_code == 200]
    refused = [answer for _, answer in answers if answer.status_code != 200]
    assert len(served) >= 9
    assert all(untimed(answer.json()) == expected[seed] for seed, answer in served)
    assert {answer.status_code for answer in refused} <= {429}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)


def test_a_full_queue_refuses_at_once(model: Florence2) -> None:
    """While the worker stands still, the next question is refused all the same, and so is one by OpenAI's client."""
    with gated(model) as gate, serving(model, Settings(port=0, queue=1)) as live, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(ask, live) for _ in range(2)]
        assert eventually(lambda: live.service.room.inside == 2)
        for path in ("/v1/ask", "/v1/stream", "/v1/chat/completions"):
            assert ask(live, path=path).status_code == 429
        assert httpx.get(f"{live.url}/health/ready").status_code == 200
        gate.remove()
        assert [answer.result().status_code for answer in waiting] == [200, 200]


def test_workers_answer_side_by_side(model: Florence2) -> None:
    """Answers are right whoever else is answered at the same time."""
    expected = [untimed(model.run(picture(n), "od", max_new_tokens=8).to_json()) for n in range(8)]
    with serving(model, workers=2) as live, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: ask(live, picture(n), task="od", max_new_tokens=8), range(8)))
    assert [untimed(answer.json()) for answer in answers] == expected


def send(live: Live, path: str, text: str = "", image_id: str | None = None) -> socket.socket:
    """Send a question about a picture, or about one that was sent before, and return the open connection."""
    about = {"image_id": image_id} if image_id else {"image": base64.b64encode(picture()).decode()}
    body = json.dumps({**about, "task": text or "caption", "num_beams": 1}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection = socket.create_connection(("127.0.0.1", live.port), PATIENCE)
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


@pytest.mark.parametrize("path", ["/v1/ask", "/v1/stream"])
def test_a_client_that_hangs_up_frees_its_worker(path: str, model: Florence2) -> None:
    """The step that goes on is the last one."""
    with gated(model) as gate, serving(model) as live:
        connection = send(live, path)
        for _ in range(3):
            assert gate.closed_at.acquire(timeout=PATIENCE)
            gate.open()
        assert gate.closed_at.acquire(timeout=PATIENCE)  # in its fourth step
        connection.close()
        time.sleep(0.2)  # the server reads that the connection was closed
        gate.open()
        assert eventually(lambda: live.service.room.inside == 0)
        assert gate.steps == 4
        gate.remove()
        assert ask(live).status_code == 200


def test_a_client_that_waits_and_hangs_up_frees_its_place(model: Florence2) -> None:
    """Its question never comes to a worker."""
    with gated(model) as gate, serving(model, Settings(port=0, queue=1)) as live, ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, live)
        assert gate.closed_at.acquire(timeout=PATIENCE)
        connection = send(live, "/v1/ask")
        assert eventually(lambda: live.service.room.inside == 2)
        connection.close()
        assert eventually(lambda: live.service.room.inside == 1)
        gate.remove()
        assert first.result().status_code == 200


def test_a_client_that_hangs_up_within_its_body(model: Florence2) -> None:
    """Nothing of it is left."""
    with serving(model) as live:
        connection = socket.create_connection(("127.0.0.1", live.port), PATIENCE)
        connection.sendall(
            b"POST /v1/ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        )
        assert eventually(lambda: live.service.room.arriving == 1)
        connection.close()
        assert eventually(lambda: live.service.room.arriving == 0)


@pytest.mark.parametrize("path", ["/v1/ask", "/v1/stream"])
def test_an_answer_that_takes_too_long(path: str, model: Florence2) -> None:
    """The client is told, and the worker is free; the time that a client gives is bounded by the server's own."""
    with (
        gated(model) as gate,
        serving(model, Settings(port=0, answer_seconds=0.3)) as live,
        ThreadPoolExecutor(1) as pool,
    ):
        answer = pool.submit(ask, live, path=path, timeout=50)
        assert gate.closed_at.acquire(timeout=PATIENCE)
        time.sleep(0.4)
        gate.remove()
        told = answer.result()
    assert "timeout" in told.text
    assert "longer than 0.3 s" in told.text
    assert told.status_code == (504 if path == "/v1/ask" else 200)


def test_a_time_that_is_over_in_the_queue(model: Florence2) -> None:
    """The client is not kept waiting until a worker is free."""
    with (
        gated(model) as gate,
        serving(model, Settings(port=0, answer_seconds=20)) as live,
        ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(ask, live)
        assert gate.closed_at.acquire(timeout=PATIENCE)
        assert ask(live, timeout=0.1).status_code == 504
        gate.remove()
        assert first.result().status_code == 200


def test_a_full_queue_refuses_before_http_is_parsed(model: Florence2, capfd: pytest.CaptureFixture[str]) -> None:
    """The refusal is in metrics and log as one of the application, which takes what the door does not recognize."""
    settings = Settings(port=0, queue=0, json_logs=True)
    with gated(model) as gate, serving(model, settings) as live, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, live)
        assert eventually(lambda: live.service.room.inside == 1)
        capfd.readouterr()
        head, rest = b"POST /v1/ask ", b"HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{}"
        whole, pieces = exchange(live, head + rest), exchange(live, head, rest)
        gate.remove()
        assert waiting.result().status_code == 200
        counts = live.service.metrics.text().decode()
    for response in (whole, pieces):
        assert response.startswith(b"HTTP/1.1 429 ")
        assert b"retry-after: " in response
        assert json.loads(response.partition(b"\r\n\r\n")[2])["error"]["code"] == "busy"
    assert (b"connection: close" in whole, b"connection: close" in pieces) == (True, False)
    refused = [json.loads(line) for line in capfd.readouterr().err.splitlines() if '"busy"' in line]
    assert [{name: line[name] for name in ("client", "method", "path", "status")} for line in refused] == [
        {"client": "127.0.0.1", "method": "POST", "path": "/v1/ask", "status": 429}
    ] * 2
    assert 'f2edge_requests_total{route="/v1/ask",status="429"} 2.0' in counts
    assert 'f2edge_refusals_total{code="busy"} 2.0' in counts


def test_a_refusal_waits_for_the_rest_of_the_body(model: Florence2) -> None:
    """A client that sends for longer than other refusals linger, on a connection that was idle before, can read it."""
    head = b"Host: localhost\r\nContent-Length: 4000000\r\n\r\n"
    with gated(model) as gate, serving(model, Settings(port=0, queue=0)) as live, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, live)
        assert eventually(lambda: live.service.room.inside == 1)
        with connect(live) as connection:
            assert live_on(connection).startswith(b"HTTP/1.1 200 ")
            connection.sendall(b"POST /v1/ask HTTP/1.1\r\n" + head)
            for _ in range(5):
                connection.sendall(bytes(800_000))
                time.sleep(0.5)
            assert read_one(connection).startswith(b"HTTP/1.1 429 ")
        gate.remove()
        assert waiting.result().status_code == 200


def exchange(live: Live, *pieces: bytes) -> bytes:
    """Send a request in pieces, each by itself, and return the response."""
    with connect(live) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.1)
        return read_one(connection)
