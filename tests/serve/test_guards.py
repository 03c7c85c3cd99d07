"""Requests that are refused before anything of them is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

from f2edge.errors import InputError
from f2edge.serve.app import create_app
from f2edge.serve.settings import Settings, read_token

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.model import Florence2

TOKEN = "0123456789abcdef"  # noqa: S105


def status(client: TestClient, path: str = "/v1/tasks", **headers: str) -> tuple[int, str]:
    """Return the status of a request, and the code of its refusal."""
    answer = client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return answer.status_code, "" if answer.status_code == 200 else answer.json()["error"]["code"]


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "LOCALHOST.", "127.0.0.1:80", "127.8.9.1", "[::1]:9"])
def test_names_of_this_machine(host: str, client: TestClient) -> None:
    """Addresses that mean this machine alone, and localhost."""
    assert status(client, host=host) == (200, "")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.nip.io", "192.168.0.7", "", "[", "a b"],
)
def test_names_of_others(host: str, client: TestClient) -> None:
    """A forged Host, as a page has it whose name was made to mean this machine."""
    assert status(client, host=host) == (403, "host")


def test_names_on_a_network(model: Florence2) -> None:
    """Any address, the names that were allowed, and none else."""
    settings = Settings("0.0.0.0", token=TOKEN, hosts=("Pi.lan",))  # noqa: S104
    client = TestClient(create_app(model, settings), headers={"authorization": f"Bearer {TOKEN}"})
    assert status(client, host="192.168.0.7:8000") == (200, "")
    assert status(client, host="pi.lan:8000") == (200, "")
    assert status(client, host="evil.example") == (403, "host")


def test_pages_of_other_sites(client: TestClient) -> None:
    """Only a page of the server itself may ask it."""
    assert status(client, host="localhost:8000", origin="http://localhost:8000") == (200, "")
    for origin in ("http://evil.example", "null", "http://localhost:9000", "http://localhost", ""):
        assert status(client, host="localhost:8000", origin=origin) == (403, "origin")


@pytest.fixture(scope="module")
def secured(model: Florence2) -> TestClient:
    """Return a client of a server that wants a token."""
    return TestClient(create_app(model, Settings(token=TOKEN)), base_url="http://localhost")


@pytest.mark.parametrize(
    "given",
    ["", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer ", f"Bearer {TOKEN}0", f"Bearer {TOKEN[:-1]}", "Bearer \xe9"],
)
def test_without_the_token(given: str, secured: TestClient) -> None:
    """Whatever is sent in its place."""
    answer = secured.get("/v1/tasks", headers={"authorization": given.encode("latin-1")})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_with_the_token(secured: TestClient) -> None:
    """The name of the scheme may have small letters."""
    assert status(secured, authorization=f"Bearer {TOKEN}") == (200, "")
    assert status(secured, authorization=f"bearer {TOKEN}") == (200, "")


def test_what_is_open_to_all(secured: TestClient) -> None:
    """The page, which asks for the token, and whether the server lives; neither metrics nor the document."""
    assert [status(secured, path)[0] for path in ("/health/live", "/health/ready")] == [200, 200]
    assert status(secured, "/page/nothing.js") == (404, "not_found")
    closed = ("/metrics", "/openapi.json", "/v1/model", "/v1/models", "/page", "/health", "/nothing")
    assert {status(secured, path)[0] for path in closed} == {401}


def test_an_address_on_the_network_wants_a_token() -> None:
    """Without one the server does not even start; with one, or on this machine alone, it does."""
    for host in ("0.0.0.0", "::", "192.168.0.7", "pi.lan"):  # noqa: S104
        with pytest.raises(InputError, match="`token_file`"):
            Settings(host)
        Settings(host, token=TOKEN)
    for host in ("127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"):
        Settings(host)


def test_tokens_in_files(tmp_path: Path) -> None:
    """Line breaks around a token do not count; what is none is refused."""
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    assert read_token(path) == TOKEN
    for content in (b"", b"short\n", b"two words of a token\n", "Schlüssel-zum-Glück".encode(), b"\0" * 40):
        path.write_bytes(content)
        with pytest.raises(InputError, match="holds no token"):
            read_token(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_token(tmp_path / "missing")


def test_bodies_that_are_too_long(model: Florence2) -> None:
    """By what the client says, or by what it sends."""
    client = TestClient(create_app(model, Settings(body_bytes=1000)), base_url="http://localhost")
    declared = client.post("/v1/ask", content=bytes(1001), headers={"content-type": "application/json"})
    counted = client.post(
        "/v1/ask", content=(bytes(10) for _ in range(101)), headers={"content-type": "application/json"}
    )
    assert [answer.status_code for answer in (declared, counted)] == [413, 413]
    assert "content-length" not in counted.request.headers


def test_compressed_bodies(client: TestClient) -> None:
    """They are not unpacked."""
    answer = client.post("/v1/ask", content=b"\x1f\x8b", headers={"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "content_encoding")
