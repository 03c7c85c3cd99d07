"""Refuse requests before anything of them is read: from wrong places, without the token, or with too long a body."""

from __future__ import annotations

import hmac
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from f2edge.serve.refusals import Refusal, bad_request
from f2edge.serve.settings import is_loopback

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from f2edge.serve.settings import Settings

_OPEN = ("/", "/health/live", "/health/ready")
_OPEN_FOLDER = "/page/"


class Guard:
    """Middleware that checks Host, Origin, token and length of each request, and counts its body while it is read.

    Args:
        app: the application behind it.
        settings: what the server takes, and from whom.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._hosts = {name.lower().strip("[]") for name in (settings.host, "localhost", *settings.hosts)}
        if not is_loopback(settings.host):
            self._hosts.add(socket.gethostname().lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or refuse it."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            try:
                self._check(scope["path"], headers)
            except Refusal as refusal:
                scope["state"]["code"] = refusal.code
                await refusal.response()(scope, receive, _unsniffed(send))
                return
            receive = _Body(receive, self._settings.body_bytes)
        await self._app(scope, receive, _unsniffed(send))

    def _check(self, path: str, headers: Headers) -> None:
        self._check_host(headers.get("host", ""))
        _check_origin(headers.get("origin"), headers.get("host", ""))
        if not (path in _OPEN or path.startswith(_OPEN_FOLDER)):
            self._check_token(headers.get("authorization", ""))
        _check_length(headers, self._settings.body_bytes)

    def _check_host(self, host: str) -> None:
        """Refuse names of others: a page of theirs could let their name mean this machine (DNS rebinding)."""
        name = _host_name(host)
        if name not in self._hosts and not _is_address(name, loopback_only=is_loopback(self._settings.host)):
            raise Refusal(403, "host", "the server is not known by the name in the Host header; see --allow-host")

    def _check_token(self, authorization: str) -> None:
        token = self._settings.token
        if token is None:
            return
        scheme, _, given = authorization.partition(" ")
        right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token.encode())
        if scheme.lower() != "bearer" or not right:
            raise Refusal(401, "token", "send the header Authorization: Bearer TOKEN", {"www-authenticate": "Bearer"})


def _unsniffed(send: Send) -> Send:
    """Tell browsers that a response is what its type says, whatever it looks like."""

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"x-content-type-options", b"nosniff")]}
        await send(message)

    return wrapped


def _host_name(host: str) -> str:
    """Return the name in a Host header, without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str, *, loopback_only: bool) -> bool:
    """Tell whether a name is an address: no one can let that mean another machine."""
    try:
        return ip_address(name).is_loopback or not loopback_only
    except ValueError:
        return False


def _check_origin(origin: str | None, host: str) -> None:
    """Refuse pages of other sites, which may send requests though they cannot read the answers."""
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        raise Refusal(403, "origin", "a page of another site may not ask this server")


def _check_length(headers: Headers, most: int) -> None:
    if headers.get("content-encoding", "identity") != "identity":
        raise Refusal(415, "content_encoding", "send the body as it is, not compressed")
    declared = headers.get("content-length", "0")
    if not declared.isdecimal():
        raise bad_request("Content-Length is not a number")
    if int(declared[:20]) > most:
        raise too_large(most)


def too_large(most: int) -> Refusal:
    """Return the refusal of a body that is too long."""
    return Refusal(413, "too_large", f"the body is larger than {most / 2**20:g} MiB: scale the picture down")


class _Body:
    """Receives a body of a bounded length."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._most, self._length = receive, most, 0

    async def __call__(self) -> Message:
        """Receive the next part.

        Raises:
            Refusal: the body is too long.
        """
        message = await self._receive()
        self._length += len(message.get("body", b""))
        if self._length > self._most:
            raise too_large(self._most)
        return message
