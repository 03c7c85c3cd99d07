"""The queue: who finds no place is told so at once, and who leaves frees a place."""

from __future__ import annotations

import asyncio
import threading

import pytest

from f2edge.serve.refusals import Refusal
from f2edge.serve.waiting import WaitingRoom


def test_there_are_as_many_places_as_workers_and_waiting_questions() -> None:
    """The fourth question in a room of one worker and two chairs is refused; the others are answered in order."""
    done: list[int] = []

    async def scenario() -> None:
        room, gate = WaitingRoom(1, 2), threading.Event()
        works = [room.enter(lambda n=n: (gate.wait(), done.append(n))) for n in range(3)]  # type: ignore[misc]
        assert (room.inside, room.waiting) == (3, 2)
        with pytest.raises(Refusal) as refused:
            room.enter(lambda: None)
        assert refused.value.status == 429
        assert int(refused.value.headers["retry-after"]) >= 1
        gate.set()
        await asyncio.gather(*works)
        room.close()

    asyncio.run(scenario())
    assert done == [0, 1, 2]


def test_who_leaves_the_queue_frees_a_place() -> None:
    """A question that waits and is cancelled is never answered."""

    async def scenario() -> None:
        room, gate = WaitingRoom(1, 1), threading.Event()
        first = room.enter(gate.wait)
        second = room.enter(lambda: pytest.fail("answered"))
        second.cancel()
        await asyncio.sleep(0)
        third = room.enter(lambda: "answered")
        gate.set()
        assert await first
        assert await third == "answered"
        room.close()

    asyncio.run(scenario())


def test_a_failure_frees_a_place() -> None:
    """The error is the caller's, and the room is empty."""

    async def scenario() -> None:
        room = WaitingRoom(1, 0)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await room.enter(lambda: 1 / 0)
        assert room.inside == 0
        room.close()

    asyncio.run(scenario())


def test_bodies_arrive_as_long_as_there_are_places() -> None:
    """As many bodies as there are places are read at the same time."""
    room = WaitingRoom(1, 0)
    with room.arrival():
        with pytest.raises(Refusal, match="ask again later"), room.arrival():
            pytest.fail("one too many")
        assert room.arriving == 1
    with room.arrival():
        pass
    assert room.arriving == 0
    room.close()
