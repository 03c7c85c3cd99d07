"""Servers for tests: one in a thread of this process, and a model whose decoder steps wait for the test."""

from __future__ import annotations

import io
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
from PIL import Image

from f2edge.serve.app import create_app
from f2edge.serve.running import Server, bind, url_of
from f2edge.serve.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from f2edge.model import Florence2
    from f2edge.serve.service import Service

PATIENCE = 30.0
"""Seconds after which a test gives up to wait; nothing waits as long unless it is broken."""


class Live:
    """A server that listens on a port of its own.

    Args:
        url: the URL without a slash at its end.
        service: its parts.
    """

    def __init__(self, url: str, service: Service) -> None:
        self.url, self.service = url, service
        self.port = int(url.rpartition(":")[2])


@contextmanager
def serving(model: Florence2, settings: Settings | None = None, *, workers: int = 1) -> Iterator[Live]:
    """Serve a model with uvicorn in a thread."""
    settings = settings or Settings(port=0)
    app, started, bound = create_app(model, settings, workers=workers), threading.Event(), bind(settings)
    server = Server(app, settings, started.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        assert started.wait(PATIENCE)
        yield Live(url_of(bound).rstrip("/"), app.state.service)
    finally:
        server.should_exit = server.force_exit = True
        thread.join()
        app.state.service.room.close()


class Gate:
    """Lets the decoder of a model take steps one by one.

    Args:
        model: the model, which has this gate until the end of :func:`gated`.
    """

    def __init__(self, model: Florence2) -> None:
        self.steps = 0
        self._runtime = model.runtime
        self._open = threading.Semaphore(0)
        self._free = threading.Event()
        self.closed_at = threading.Semaphore(0)
        """Released whenever a decoder waits for its next step."""
        self.batches: list[int] = []
        """The number of questions of each batch that was begun."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def start(self, *arguments: Any) -> Any:
        """Begin an answer, whose steps wait."""
        return _Session(self._runtime.start(*arguments), self)

    def start_many(self, questions: Any, *arguments: Any) -> Any:
        """Begin a batch of answers, whose steps wait."""
        self.batches.append(len(questions))
        return _Session(self._runtime.start_many(questions, *arguments), self)

    def open(self, steps: int = 1) -> None:
        """Let so many steps be taken."""
        self._open.release(steps)

    def remove(self) -> None:
        """Let all steps be taken from now on."""
        self._free.set()

    def pass_through(self) -> None:
        """Wait, and count the step."""
        self.closed_at.release()
        while not (self._free.is_set() or self._open.acquire(timeout=0.01)):
            pass
        self.steps += 1


class _Session:
    def __init__(self, session: Any, gate: Gate) -> None:
        self._session, self._gate = session, gate

    def step(self, *arguments: Any) -> Any:
        self._gate.pass_through()
        return self._session.step(*arguments)


@contextmanager
def gated(model: Florence2) -> Iterator[Gate]:
    """Let the decoder of a model wait for a test."""
    gate, runtime = Gate(model), model.runtime
    model._runtime = gate  # type: ignore[assignment]
    try:
        yield gate
    finally:
        gate.remove()
        model._runtime = runtime


def eventually(condition: Callable[[], bool]) -> bool:
    """Tell whether something becomes true."""
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def picture(seed: int = 0, size: tuple[int, int] = (120, 90), kind: str = "PNG") -> bytes:
    """Return the file of a picture that differs from seed to seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize(size).save(file, kind)
    return file.getvalue()


def ask(live: Live, content: bytes | None = None, *, path: str = "/v1/ask", **fields: Any) -> httpx.Response:
    """Post a form with a picture."""
    form = {"task": "caption", "max_new_tokens": 4, **fields}
    files = {"image": content or picture()}
    return httpx.post(f"{live.url}{path}", data=form, files=files, timeout=PATIENCE)
