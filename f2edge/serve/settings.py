"""Settings of a server: where it listens, who may ask, and how much it takes."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from f2edge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

_MIB = 2**20
_SHORTEST_TOKEN = 16
_LONGEST_TOKEN_FILE = 4096


@dataclass(frozen=True)
class Settings:
    """What a server takes, and from whom.

    Args:
        host: the address that it listens on.
        port: the port that it listens on; 0 for any that is free.
        token: what clients send as ``Authorization: Bearer TOKEN``; None if anyone who reaches it may ask.
        hosts: further names that clients may call it by; addresses, localhost and ``host`` are known.
        queue: questions that may wait for a worker; further ones are refused at once.
        json_logs: whether each request is one line of JSON on stderr.
        body_bytes: bytes of the longest body of a request.
        pixels: pixels of the largest picture.
        characters: characters of the longest text, and of all labels together.
        header_seconds: how long a client may take to send the headers of a request.
        body_seconds: how long a client may take to send the body of a request.
        answer_seconds: how long a question may wait and be answered.
        grace_seconds: how long the answers that go on may take once the server is told to end.
        pictures: encoded pictures that are kept for further questions.
        picture_bytes: bytes of memory that they may take together.
        connections: connections at the same time on which something was asked; requests on further ones are refused.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    hosts: tuple[str, ...] = ()
    queue: int = 16
    json_logs: bool = False
    body_bytes: int = 20 * _MIB
    pixels: int = 50_000_000
    characters: int = 20_000
    header_seconds: float = 10.0
    body_seconds: float = 60.0
    answer_seconds: float = 120.0
    grace_seconds: float = 30.0
    pictures: int = 64
    picture_bytes: int = 256 * _MIB
    connections: int = 512

    def __post_init__(self) -> None:
        """Refuse to let anyone on the network ask.

        Raises:
            InputError: other machines can reach the address, and there is no token.
        """
        if self.token is None and not is_loopback(self.host):
            raise InputError(
                f"`host` {self.host} can be reached from other machines; give a `token_file`, or listen on 127.0.0.1"
            )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def read_token(path: Path) -> str:
    """Read the token of a file; blanks and line breaks around it do not count.

    Raises:
        InputError: the file cannot be read, or holds no token of at least 16 printable characters of ASCII.
    """
    try:
        with path.open("rb") as file:
            token = file.read(_LONGEST_TOKEN_FILE).decode("ascii").strip()
    except OSError as error:
        raise InputError(f"`token_file` {path} cannot be read: {error.strerror}; check the path") from error
    except UnicodeDecodeError:
        token = ""
    if len(token) < _SHORTEST_TOKEN or not token.isprintable() or " " in token:
        raise InputError(
            f"`token_file` {path} holds no token: write one of at least {_SHORTEST_TOKEN} letters and digits into it,"
            " such as that of: openssl rand -hex 32"
        )
    return token
