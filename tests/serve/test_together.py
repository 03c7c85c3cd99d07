"""Questions about encoded pictures that wait beside each other are answered in batches, each as it would be alone."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx

from f2edge.serve.settings import Settings
from tests.serve.test_app import untimed
from tests.serve.test_service import send
from tests.support.serving import PATIENCE, Live, ask, eventually, gated, picture, serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from f2edge.model import Florence2
    from tests.support.serving import Gate

    Client = Callable[[Live], httpx.Response]

RIGHT: tuple[dict[str, Any], ...] = (
    {"task": "caption", "num_beams": 1},
    {"task": "od", "num_beams": 2},
    {"task": "od", "num_beams": 1, "structured": True},
    {"task": "caption_to_phrase_grounding", "text": "a", "num_beams": 1},
)


def about(image_id: str, **question: Any) -> Client:
    """Return a client that asks about a picture that was sent before."""
    fields = {"image_id": image_id, "max_new_tokens": 4, **question}
    return lambda live: httpx.post(f"{live.url}/v1/ask", json=fields, timeout=PATIENCE)


def behind_another(live: Live, gate: Gate, clients: ThreadPoolExecutor, asking: list[Client]) -> list[Future[Any]]:
    """Let one question take the worker and the others wait behind it; return the answers to come of the others."""
    clients.submit(ask, live)
    assert gate.closed_at.acquire(timeout=PATIENCE)
    waiting = []
    for number, client in enumerate(asking):
        waiting.append(clients.submit(client, live))
        assert eventually(lambda number=number: live.service.room.inside == number + 2)  # type: ignore[misc]
    return waiting


def step(gate: Gate, count: int = 1) -> None:
    """Let the decoder take some steps, and wait until it stands before the next one."""
    for _ in range(count):
        gate.open()
        assert gate.closed_at.acquire(timeout=PATIENCE)


def test_each_answer_is_that_of_the_question_alone(model: Florence2) -> None:
    """Greedy and beams, structured or not, in batches of as many beams; what is wrong is refused at once."""
    expected = [untimed(model.run(picture(n), max_new_tokens=4, **q).to_json()) for n, q in enumerate(RIGHT)]
    with serving(model) as live, ThreadPoolExecutor(8) as clients:
        ids = [ask(live, picture(n)).json()["image_id"] for n in range(len(RIGHT))]
        right = [about(image_id, **question) for image_id, question in zip(ids, RIGHT, strict=True)]
        gone, outside = about("gone", task="od"), about(ids[0], task="region_to_category", region=[900, 900, 990, 990])
        with gated(model) as gate:
            waiting = behind_another(live, gate, clients, right)
            assert [gone(live).status_code, outside(live).status_code] == [404, 400]
            gate.remove()
            answers = [one.result() for one in waiting]
    assert [answer.status_code for answer in answers] == [200] * len(RIGHT)
    assert [untimed(answer.json()) for answer in answers] == expected
    assert gate.batches == [3]  # no other question has two beams


def test_a_picture_that_has_to_go_is_kept_for_those_who_wait(model: Florence2) -> None:
    """Who was told that there is a place gets an answer; who asks later is told to send the picture again."""
    with serving(model, Settings(port=0, pictures=2)) as live, ThreadPoolExecutor(8) as clients:
        about_it = about(ask(live, picture(1)).json()["image_id"], task="od", num_beams=1)
        with gated(model) as gate:
            others = [lambda live, seed=seed: ask(live, picture(seed)) for seed in (2, 3)]
            waiting = behind_another(live, gate, clients, [*others, about_it])
            gate.remove()
            assert [one.result().status_code for one in waiting] == [200, 200, 200]
        assert about_it(live).status_code == 404


def test_nothing_is_answered_before_what_came_earlier(model: Florence2) -> None:
    """A new picture is answered alone, between two batches."""
    with serving(model) as live, ThreadPoolExecutor(8) as clients:
        known = about(ask(live).json()["image_id"], task="od", num_beams=1)
        with gated(model) as gate:
            waiting = behind_another(live, gate, clients, [known, known, ask, known, known])
            gate.remove()
            assert [one.result().status_code for one in waiting] == [200] * 5
    assert gate.batches == [2, 2]


def test_a_batch_stops_once_all_its_clients_are_gone(model: Florence2) -> None:
    """As long as one of them waits, it goes on."""
    with serving(model) as live, ThreadPoolExecutor(1) as clients:
        image_id = ask(live).json()["image_id"]
        with gated(model) as gate:
            first = clients.submit(ask, live, max_new_tokens=2)
            assert gate.closed_at.acquire(timeout=PATIENCE)
            connections = []
            for inside in (2, 3):
                connections.append(send(live, "/v1/ask", image_id=image_id))
                assert eventually(lambda inside=inside: live.service.room.inside == inside)  # type: ignore[misc]
            while not gate.batches:
                step(gate)
            connections[0].close()
            step(gate, 3)
            assert first.result().status_code == 200
            steps = gate.steps
            connections[1].close()
            time.sleep(0.2)  # the server reads that the connection was closed
            gate.open()
            assert eventually(lambda: live.service.room.inside == 0)
            assert gate.steps == steps + 1
