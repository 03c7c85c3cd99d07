"""Questions that are refused before their HTTP is parsed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from starlette.routing import Route

from f2edge.serve.app import create_app
from f2edge.serve.overload import QUESTIONS, Overload
from f2edge.serve.service import Service
from f2edge.serve.settings import Settings

if TYPE_CHECKING:
    from f2edge.model import Florence2

ASK = b"POST /v1/ask HTTP/1.1\r\nHost: localhost\r\n"


def overload(model: Florence2, places: int) -> Overload:
    """Return one in front of an empty room."""
    return Overload(Service(model, Settings(queue=places - 1)))


def test_of_a_crowd_only_so_many_are_let_in_as_there_are_places(model: Florence2) -> None:
    """All are read before the application runs; once it has, the places that are free are free again."""

    async def scenario() -> None:
        door = overload(model, 2)
        refusals = [door.refusal(ASK, ("127.0.0.1", 5000)) for _ in range(4)]
        assert refusals[:2] == [None, None]
        assert [refusal.status for refusal in refusals[2:] if refusal] == [429, 429]
        await asyncio.sleep(0)
        assert door.refusal(ASK, None) is None

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "data",
    [
        b"GET /health/live HTTP/1.1\r\n",
        b"POST /v1/models HTTP/1.1\r\n",
        b"POST /v1/ask?x HTTP/1.1\r\n",
        b"POST /v1/ask HTTP/1.1",
        b"post /v1/ask HTTP/1.1\r\n",
        b"",
    ],
)
def test_what_is_no_question_is_read(data: bytes, model: Florence2) -> None:
    """Everything else is left to the application, also if no place is free, and takes none."""

    async def scenario() -> None:
        door = overload(model, 1)
        assert door.refusal(ASK, None) is None
        assert door.refusal(data, None) is None

    asyncio.run(scenario())


def test_the_addresses_are_those_of_the_application(model: Florence2) -> None:
    """Whatever is posted needs a place."""
    routes = [route for route in create_app(model).routes if isinstance(route, Route)]
    assert sorted(route.path for route in routes if "POST" in (route.methods or ())) == sorted(QUESTIONS)


@pytest.mark.parametrize("path", QUESTIONS)
def test_all_questions_are_recognized(path: str, model: Florence2) -> None:
    """Each address that answers a question refuses at once."""

    async def scenario() -> None:
        door, data = overload(model, 1), f"POST {path} HTTP/1.0\r\n".encode()
        assert door.refusal(data, None) is None
        refusal = door.refusal(data, None)
        assert refusal
        assert refusal.code == "busy"

    asyncio.run(scenario())


def test_a_server_that_ends_says_so_itself(model: Florence2) -> None:
    """The application refuses with another status, and another time to wait."""

    async def scenario() -> None:
        service = Service(model, Settings(queue=0))
        door = Overload(service)
        assert door.refusal(ASK, None) is None
        service.draining = True
        assert door.refusal(ASK, None) is None

    asyncio.run(scenario())
