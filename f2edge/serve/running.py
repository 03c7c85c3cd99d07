"""Run a server with uvicorn, until it is told to end."""

from __future__ import annotations

import signal
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn

from f2edge.errors import InputError
from f2edge.serve.app import create_app
from f2edge.serve.connections import HEADER_BYTES, Connection, Door
from f2edge.serve.overload import Overload

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from starlette.applications import Starlette

    from f2edge.model import Florence2
    from f2edge.serve.settings import Settings

_KEEP_ALIVE_SECONDS = 15


class Server(uvicorn.Server):
    """Tells the application when it begins to end, and the caller when it listens.

    Args:
        app: an application of :func:`f2edge.serve.app.create_app`.
        settings: its settings.
        started: called once the server listens.
    """

    def __init__(self, app: Starlette, settings: Settings, started: Callable[[], None]) -> None:
        super().__init__(_config(app, settings))
        self._service, self._started = app.state.service, started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self._started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end, at a signal."""
        self._service.draining = True
        super().handle_exit(sig, frame)


def bind(settings: Settings) -> socket.socket:
    """Return a socket that has the address of a server and does not listen yet.

    Raises:
        InputError: the address is taken, or is none of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host.strip("[]"), settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return _bound(socket.socket(family, kind, protocol), address)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"nothing can listen on {settings.host}, port {settings.port}: {reason}; choose another `host` or `port`"
        ) from error


def _bound(unbound: socket.socket, address: Any) -> socket.socket:
    try:
        unbound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        unbound.bind(address)
    except (OSError, OverflowError):
        unbound.close()
        raise
    return unbound


def url_of(bound: socket.socket) -> str:
    """Return the URL of the page of a server."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def run(
    model: Florence2, settings: Settings, bound: socket.socket, *, workers: int, started: Callable[[], None]
) -> None:
    """Serve a model until SIGTERM or SIGINT; answers that go on are finished, and nothing new is taken.

    Args:
        model: the model.
        settings: what the server takes, and from whom.
        bound: the socket of :func:`bind`.
        workers: the workers of the model.
        started: called once the server listens.
    """
    app = create_app(model, settings, workers=workers)
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it again when all is done
    try:
        Server(app, settings, started).run(sockets=[bound])
    finally:
        signal.signal(signal.SIGTERM, before)
        app.state.service.room.close()
        bound.close()


def _config(app: Starlette, settings: Settings) -> uvicorn.Config:
    service = app.state.service
    overload = Overload(service).refusal
    door = Door(settings.connections, settings.header_seconds, overload, service.metrics.refused)
    return uvicorn.Config(
        app,
        http=partial(Connection, door=door),  # type: ignore[arg-type]
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(settings.grace_seconds)),
        h11_max_incomplete_event_size=HEADER_BYTES,
    )
